//! The page: a status in semantic HTML, which a text browser shows as well as a large one. All text passes [`Escaped`].

use std::fmt::Write;

use crate::html::{Escaped, duration, known, size};
use crate::status::{Boot, Interface, Link, Memory, Process, Status, Traffic};

const STYLE: &str = include_str!("page.css");

/// The status page.
pub fn status(status: &Status) -> String {
    let name = status.hostname.as_deref().unwrap_or("This machine");
    let uptime = status.uptime_seconds.map(duration);
    let mut main = facts(status);
    main += &section("memory", "Memory", &memory(&status.memory));
    main += &section("boot", "Boot", &boot(&status.boot));
    main += &section("network", "Network", &status.interfaces.iter().map(interface).collect::<String>());
    main += &section("processes", "Processes", &processes(&status.processes, status.kernel_threads));
    main += &section("kernel", "Kernel", &kernel(status));
    let lead = format!("Linux {}, up for {}.", known(status.kernel.version.as_ref()), known(uptime));
    let foot = "<footer><p>The same as data: <a href=\"/status.json\">status.json</a></p></footer>\n";
    document(name, &lead, &(format!("<main>\n{main}</main>\n") + foot))
}

/// The page for an address that there is not.
pub fn not_found(path: &str) -> String {
    let main = format!(
        "<main>\n<p>There is nothing at <code>{}</code>.</p>\n<p><a href=\"/\">The status of the machine</a></p>\n</main>\n",
        Escaped(path)
    );
    document("Not found", "404", &main)
}

fn document(title: &str, lead: &str, body: &str) -> String {
    let (title, lead) = (Escaped(title), Escaped(lead));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n<p>{lead}</p>\n</header>\n{body}</body>\n</html>\n"
    )
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n")
}

/// The numbers that one looks for first.
fn facts(status: &Status) -> String {
    let load = status.load.map(|load| load.map(|number| format!("{number:.2}")).join(" "));
    let facts = [
        ("Uptime", known(status.uptime_seconds.map(duration))),
        ("Load, 1, 5 and 15 min", known(load)),
        ("Memory available", known(status.memory.available_bytes.map(size))),
        ("Kernel start to listening", known(status.boot.listening_seconds.map(seconds))),
    ];
    list("facts", &facts)
}

/// Names and values.
fn list(class: &str, pairs: &[(&str, String)]) -> String {
    let mut html = format!("<dl class=\"{class}\">\n");
    for (name, value) in pairs {
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(value));
    }
    html + "</dl>\n"
}

/// A table whose first column names the row, and whose columns marked `true` hold numbers.
fn table(id: &str, columns: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let class = |is_number: bool| if is_number { " class=\"number\"" } else { "" };
    // A table wider than a telephone scrolls by itself, with the keyboard too.
    let mut html =
        format!("<div class=\"wide\" role=\"group\" aria-labelledby=\"{id}\" tabindex=\"0\">\n<table>\n<thead>\n<tr>");
    for (title, is_number) in columns {
        let _ = write!(html, "<th scope=\"col\"{}>{title}</th>", class(*is_number));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (index, (cell, (_, is_number))) in row.iter().zip(columns).enumerate() {
            let (open, close) = if index == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
            let _ = write!(html, "<{open}{}>{}</{close}>", class(*is_number), Escaped(cell));
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n"
}

fn memory(memory: &Memory) -> String {
    let parts = [
        ("Programs", memory.programs_bytes),
        ("Files, the image among them", memory.files_bytes),
        ("Kernel", memory.kernel_bytes),
        ("Free", memory.free_bytes),
    ];
    let share = |bytes: Option<u64>| match (bytes, memory.total_bytes) {
        (Some(bytes), Some(total)) if total > 0 => Some(bytes as f64 * 100.0 / total as f64),
        _ => None,
    };
    // A picture of the table below it, so there is nothing in it to read out.
    let mut html = "<div class=\"bar\" aria-hidden=\"true\">".to_owned();
    for (index, (_, bytes)) in parts.iter().enumerate() {
        let _ =
            write!(html, "<span class=\"part{index}\" style=\"flex-grow:{:.2}\"></span>", share(*bytes).unwrap_or(0.0));
    }
    html += "</div>\n";
    let row = |name: &str, bytes: Option<u64>| {
        let percent = share(bytes).map(|share| format!("{share:.1} %"));
        vec![name.to_owned(), known(bytes.map(size)), known(percent)]
    };
    let mut rows: Vec<_> = parts.iter().map(|(name, bytes)| row(name, *bytes)).collect();
    rows.push(row("Total", memory.total_bytes));
    rows.push(row("Available to programs", memory.available_bytes));
    html + &table("memory", &[("Used for", false), ("Size", true), ("Share", true)], &rows)
}

fn boot(boot: &Boot) -> String {
    let steps = [
        ("Kernel starts", Some(0.0)),
        ("First instruction of init", boot.init_seconds),
        ("Program is started", boot.program_seconds),
        ("Program listens", boot.listening_seconds),
    ];
    let mut before = None;
    let mut rows = Vec::new();
    for (name, at) in steps {
        let took = at.zip(before).map(|(at, before)| seconds(f64::max(at - before, 0.0)));
        // The kernel's start follows nothing that we could know.
        let took = if rows.is_empty() { String::new() } else { known(took) };
        rows.push(vec![name.to_owned(), known(at.map(seconds)), took]);
        before = at.or(before);
    }
    table("boot", &[("Step", false), ("At", true), ("Took", true)], &rows)
}

/// A time span of the boot, in milliseconds as long as these mean something.
fn seconds(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.3} s") } else { duration(seconds) }
}

fn interface(interface: &Interface) -> String {
    let (class, word) = match interface.link {
        Some(Link::Up) => ("up", "up"),
        Some(Link::NoCarrier) => ("down", "no carrier"),
        Some(Link::Down) => ("down", "down"),
        None => ("down", "state unknown"),
    };
    let traffic = |traffic: &Traffic| {
        let Traffic { bytes, packets, errors, dropped } = traffic;
        let packets = format!("{} in {packets} {}", size(*bytes), if *packets == 1 { "packet" } else { "packets" });
        if errors + dropped == 0 { packets } else { format!("{packets}, {errors} faulty, {dropped} dropped") }
    };
    let addresses = if interface.addresses.is_empty() { "none".to_owned() } else { interface.addresses.join("\n") };
    let facts = [
        ("Addresses", addresses),
        ("MAC", known(interface.mac.as_ref())),
        ("MTU", known(interface.mtu_bytes.map(|mtu| format!("{mtu} B")))),
        ("Received", traffic(&interface.received)),
        ("Sent", traffic(&interface.sent)),
    ];
    let name = Escaped(&interface.name);
    format!("<h3>{name} <span class=\"{class}\">{word}</span></h3>\n{}", list("values", &facts))
}

fn processes(processes: &[Process], n_kernel_threads: usize) -> String {
    let columns =
        [("Name", false), ("State", false), ("PID", true), ("Parent", true), ("Threads", true), ("Memory", true)];
    let row = |process: &Process| {
        vec![
            process.name.clone(),
            known(process.state.as_ref()),
            process.pid.to_string(),
            known(process.parent),
            known(process.threads),
            known(process.resident_bytes.map(size)),
        ]
    };
    let rows: Vec<_> = processes.iter().map(row).collect();
    table("processes", &columns, &rows) + &format!("<p>And {n_kernel_threads} threads of the kernel.</p>\n")
}

fn kernel(status: &Status) -> String {
    let kernel = &status.kernel;
    let line = format!("<p><code>{}</code></p>\n", Escaped(known(kernel.command_line.as_ref())));
    format!("<p>Linux {}, started with</p>\n{line}", Escaped(known(kernel.version.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example;

    fn check(machine: &Status, part: &str) {
        let page = status(machine);
        assert!(page.contains(part), "the page lacks\n{part}\nand is\n{page}");
    }

    #[test]
    fn the_page_says_what_is_known() {
        let machine = example();
        check(&machine, "<h1>web</h1>\n<p>Linux 6.12.107, up for 1 min 33 s.</p>");
        check(&machine, "<dd>0.08 0.02 0.00</dd>");
        check(
            &machine,
            "<tr><th scope=\"row\">Kernel</th><td class=\"number\">5.7 MiB</td><td class=\"number\">25.0 %</td></tr>",
        );
        check(
            &machine,
            "<tr><th scope=\"row\">Program is started</th><td class=\"number\">0.420 s</td><td class=\"number\">0.008 s</td></tr>",
        );
        check(&machine, "<dd>10.0.2.15/24\nfec0::5054:ff:fe12:3456/64</dd>");
        check(&machine, "<dd>4.0 KiB in 30 packets</dd>");
        check(
            &machine,
            "<th scope=\"row\">init</th><td>sleeping</td><td class=\"number\">1</td><td class=\"number\">0</td>",
        );
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let nothing = Status::default();
        check(&nothing, "<h1>This machine</h1>\n<p>Linux unknown, up for unknown.</p>");
        check(&nothing, "<th scope=\"row\">Total</th><td class=\"number\">unknown</td>");
        check(&nothing, "<th scope=\"row\">Program listens</th><td class=\"number\">unknown</td>");
        let gap = Boot { listening_seconds: Some(0.5), ..Boot::default() };
        check(
            &Status { boot: gap, ..Status::default() },
            "Program listens</th><td class=\"number\">0.500 s</td><td class=\"number\">0.500 s</td>",
        );
    }

    #[test]
    fn nothing_read_becomes_markup() {
        let mut machine = example();
        let evil = "<script>\"&'".to_owned();
        machine.hostname = Some(evil.clone());
        machine.kernel.version = Some(evil.clone());
        machine.kernel.command_line = Some(evil.clone());
        machine.interfaces[0].name = evil.clone();
        machine.interfaces[0].mac = Some(evil.clone());
        machine.interfaces[0].addresses = vec![evil.clone()];
        machine.processes[0].name = evil.clone();
        machine.processes[0].state = Some(evil.clone());
        for page in [status(&machine), not_found(&evil)] {
            assert!(!page.contains("<script") && page.contains("&lt;script&gt;&quot;&amp;&#39;"), "{page}");
        }
    }
}
