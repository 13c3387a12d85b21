//! The one loop: waits for whatever happens next, tells the supervisor, and does what it answers.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use pid1_init::config::{Config, NetworkMode, Start};
use pid1_init::supervise::{Action, End, Event, Goal, Supervisor};
use pid1_init::time::millis;
use pid1_init::{Ending, LogLevel, Off};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::system::RebootCommand;

use crate::buttons::Buttons;
use crate::clock::Moment;
use crate::net::Net;
use crate::reap::Found;
use crate::report::Channel;
use crate::shutdown::EVERYBODY;
use crate::terminal::Terminal;
use crate::volumes::Mounted;
use crate::watchdog::Watchdog;
use crate::{boot_times, buttons, clock, console, oom, reap, seed, service, shutdown, sys, volumes, watchdog};

/// What a signal to PID 1 asks for. What `poweroff`, `halt` and `reboot` of busybox send; PWR is the kernel's word for a
/// failing power supply, and INT its word for Ctrl-Alt-Del.
const STOP_SIGNALS: [(i32, &str, Goal); 5] = [
    (libc::SIGTERM, "SIGTERM to PID 1 asks for a restart, as `reboot` does", Goal::Reboot),
    (libc::SIGINT, "SIGINT to PID 1 asks for a restart, as Ctrl-Alt-Del does", Goal::Reboot),
    (libc::SIGUSR1, "SIGUSR1 to PID 1 asks to power off, as `halt` does", Goal::PowerOff),
    (libc::SIGUSR2, "SIGUSR2 to PID 1 asks to power off, as `poweroff` does", Goal::PowerOff),
    (libc::SIGPWR, "SIGPWR to PID 1 asks to power off, as the power button does", Goal::PowerOff),
];

/// Signals that are PID 1's own affair; all others are for the program.
const OWN_SIGNALS: [i32; 5] = [libc::SIGCHLD, libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU, libc::SIGTSTP];

/// How often a machine whose kernel has no signalfd looks for processes that ended.
const BLIND_PATIENCE: Duration = Duration::from_millis(100);

/// How many signals are taken in one turn: a process may send them without end.
const MOST_SIGNALS: usize = 100;

/// Something to poll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Host,
    Output,
    Input,
    Console,
    Net,
    Buttons,
}

/// The running machine.
pub struct Machine {
    config: Config,
    args: Option<Vec<OsString>>,
    off: Off,
    /// The device that leads to the host.
    report: Option<String>,
    /// Init's first instruction.
    born: Moment,
    supervisor: Supervisor,
    signals: Option<OwnedFd>,
    host: Option<Channel>,
    terminal: Option<Terminal>,
    net: Net,
    volumes: Mounted,
    watchdog: Option<Watchdog>,
    buttons: Option<Buttons>,
    program: Option<Pid>,
    /// How many processes the kernel had killed for memory when that was last asked.
    n_oom_kills: u64,
    /// What the first start need not wait for was done.
    has_settled: bool,
}

impl Machine {
    /// Of this configuration. `args` take the place of the image's.
    pub fn new(config: Config, args: Option<Vec<OsString>>, off: Off, report: Option<&str>, born: Moment) -> Self {
        let signals = sys::signals_as_events();
        if let Err(error) = &signals {
            console::warn(&format!("the machine hears no signals, it was built without signalfd: {error}"));
        }
        let terminal = Terminal::open();
        // Mounting can take long, and a dead disk for ever.
        let watchdog = config.watchdog.filter(|_| !config.volumes.is_empty()).and_then(watchdog::open);
        let volumes = volumes::mount_all(&config.volumes);
        let net = Net::start(&config.network, config.hostname.as_deref(), config.hostname.is_some());
        Self {
            supervisor: Supervisor::new(&config.program, config.supervise, clock::since(born)),
            signals: signals.ok(),
            buttons: None,
            program: None,
            n_oom_kills: 0,
            has_settled: false,
            config,
            args,
            off,
            report: report.map(str::to_owned),
            born,
            host: None,
            terminal,
            net,
            volumes,
            watchdog,
        }
    }

    /// Lives until the machine ends.
    pub fn run(mut self) -> ! {
        if self.config.program.is_empty() {
            self.tell(Event::Impossible("there is no program to start".to_owned()));
        }
        if let Some(why) = self.volumes.missing().map(str::to_owned) {
            self.tell(Event::Impossible(why));
        }
        self.start_if_ready();
        self.settle();
        loop {
            let is_done = self.reap();
            let ready = self.wait(if is_done { self.patience() } else { Some(Duration::ZERO) });
            for source in ready {
                self.handle(source);
            }
            if self.net.deadline().is_some_and(|due| due <= clock::now()) {
                self.net.handle();
            }
            self.watchdog.iter_mut().for_each(Watchdog::feed);
            self.start_if_ready();
            self.tell(Event::Tick);
        }
    }

    /// What the program need not wait for.
    fn settle(&mut self) {
        self.has_settled = true;
        self.host = self.report.as_deref().and_then(Channel::open);
        if self.watchdog.is_none() {
            self.watchdog = self.config.watchdog.and_then(watchdog::open);
        }
        self.watchdog.iter_mut().for_each(Watchdog::tighten);
        seed::seed();
        oom::protect();
        watchdog::restart_after_panic();
        buttons::catch_ctrl_alt_del();
        self.buttons = Some(buttons::open());
    }

    fn start_if_ready(&mut self) {
        if self.may_start() {
            self.tell(Event::Ready);
        }
    }

    /// Whether all that the program waits for is there.
    fn may_start(&self) -> bool {
        match self.config.start {
            Start::Now => true,
            // Nobody would ever be ready.
            Start::Network if self.config.network.mode == NetworkMode::Off => true,
            Start::Network => self.net.is_ready(),
        }
    }

    /// Tells the supervisor, and does what it says.
    fn tell(&mut self, event: Event) {
        let now = clock::since(self.born);
        for action in self.supervisor.handle(now, event) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start => self.start(),
            Action::AskProgram => self.program.into_iter().for_each(shutdown::ask),
            Action::KillProgram => self.program.into_iter().for_each(shutdown::kill),
            Action::AskAll => shutdown::ask(EVERYBODY),
            Action::KillAll => shutdown::kill(EVERYBODY),
            Action::Log(level, text) => console::log(level, &text),
            Action::LogWait => {
                let text = format!("the program waits for the network: {}", self.net.waiting_for());
                console::log(LogLevel::Warn, &text);
            }
            Action::ShowLastLines => self.show_last_lines(),
            Action::End(end) => self.end(&end),
        }
    }

    fn start(&mut self) {
        // Before the first start nobody was killed, and it must not wait for a file.
        if self.has_settled {
            self.n_oom_kills = oom::kills().unwrap_or(self.n_oom_kills);
        }
        let terminal = self.terminal.as_mut().map(Terminal::program_side);
        match service::start(&self.config, self.args.as_deref(), terminal) {
            Ok(pid) => {
                self.program = Some(pid);
                let (program, now) = (&self.config.program, clock::now());
                boot_times::write(self.born, now);
                let (pid, age) = (pid.as_raw_pid(), millis(now.saturating_sub(self.born)));
                console::debug(&format!("started {program} as process {pid}, {age} ms after init"));
                self.tell(Event::Started);
            }
            Err(failure) => self.tell(Event::NotStarted(failure.ending, failure.to_string())),
        }
    }

    fn show_last_lines(&mut self) {
        let lines = self.terminal.as_mut().map(Terminal::take_last_lines).unwrap_or_default();
        if !lines.is_empty() {
            console::warn("the last lines of the program:");
        }
        for line in lines {
            console::warn(&format!("| {line}"));
        }
    }

    fn end(&mut self, end: &End) -> ! {
        // Nobody is left who could say more; what was said last is still to come through.
        self.terminal.iter_mut().for_each(Terminal::drain);
        self.net.release();
        self.watchdog.iter_mut().for_each(Watchdog::relax);
        std::mem::take(&mut self.volumes).unmount();
        if let Some(host) = &self.host {
            host.send(end);
        }
        console::debug("the machine ends");
        rustix::fs::sync();
        self.watchdog.take().into_iter().for_each(Watchdog::disarm);
        shutdown::end(match (end.goal, self.off) {
            (Goal::PowerOff, Off::PowerOff) => RebootCommand::PowerOff,
            (Goal::PowerOff, Off::Restart) | (Goal::Reboot, _) => RebootCommand::Restart,
        })
    }

    /// Takes who died. False if there may be more of them.
    fn reap(&mut self) -> bool {
        match reap::turn(self.program) {
            Found::Program(ending) => {
                let ending = self.with_cause(ending);
                self.program_ended(ending);
                false
            }
            Found::More => false,
            Found::Living => true,
            Found::Nobody => {
                self.tell(Event::Alone);
                true
            }
        }
    }

    /// The kernel kills by SIGKILL who takes the last memory; nobody else in the machine says so.
    fn with_cause(&mut self, ending: Ending) -> Ending {
        if ending != Ending::Killed(9) {
            return ending;
        }
        let n_before = self.n_oom_kills;
        self.n_oom_kills = oom::kills().unwrap_or(n_before);
        if self.n_oom_kills > n_before { Ending::OutOfMemory } else { ending }
    }

    fn program_ended(&mut self, ending: Ending) {
        self.program = None;
        if let Some(terminal) = &mut self.terminal {
            terminal.drain();
        }
        self.tell(Event::Ended(ending));
    }

    /// How long nothing needs to be done by itself.
    fn patience(&self) -> Option<Duration> {
        let now = clock::since(self.born);
        let due = self.supervisor.deadline().map(|due| due.saturating_sub(now));
        let net = self.net.deadline().map(clock::until);
        let watchdog = self.watchdog.as_ref().map(|dog| clock::until(dog.deadline()));
        // Without signals the death of a child wakes nobody.
        let blind = self.signals.is_none().then_some(BLIND_PATIENCE);
        [due, net, watchdog, blind].into_iter().flatten().min()
    }

    /// What happened within `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> Vec<Source> {
        let sources = self.sources();
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        if let Err(error) = poll(&mut polled, timeout.as_ref()) {
            // For want of memory, say; trying again at once would only take the processor, too.
            if error != Errno::INTR {
                clock::sleep(BLIND_PATIENCE);
            }
            return Vec::new();
        }
        let happened = sources.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        happened.map(|((source, ..), _)| *source).collect()
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let terminal = self.terminal.as_ref();
        let is_behind = console::is_behind();
        // Nothing more is taken from the program than the console takes.
        let mut output = PollFlags::empty();
        output.set(PollFlags::IN, !is_behind);
        output.set(PollFlags::OUT, terminal.is_some_and(Terminal::has_input));
        let sources = [
            (Source::Signals, self.signals.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Host, self.host.as_ref().and_then(Channel::source), PollFlags::IN),
            (Source::Output, terminal.map(Terminal::output).filter(|_| !output.is_empty()), output),
            (Source::Input, terminal.and_then(Terminal::input), PollFlags::IN),
            (Source::Console, terminal.and_then(Terminal::console).filter(|_| is_behind), PollFlags::OUT),
        ];
        let net = self.net.sources().map(|fd| (Source::Net, Some(fd), PollFlags::IN));
        let buttons =
            self.buttons.iter().flat_map(Buttons::sources).map(|fd| (Source::Buttons, Some(fd), PollFlags::IN));
        sources
            .into_iter()
            .chain(net)
            .chain(buttons)
            .filter_map(|(source, fd, flags)| Some((source, fd?, flags)))
            .collect()
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Host => {
                if self.host.as_mut().is_some_and(Channel::is_asked_to_stop) {
                    self.tell(Event::Stop(Goal::PowerOff, "the host asks for it".to_owned()));
                }
            }
            Source::Output => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.pass_output();
                    terminal.pass_input();
                }
            }
            Source::Input => self.terminal.iter_mut().for_each(Terminal::pass_input),
            Source::Console => console::flush(),
            Source::Net => self.net.handle(),
            Source::Buttons => {
                if self.buttons.as_mut().is_some_and(Buttons::pressed) {
                    self.tell(Event::Stop(Goal::PowerOff, "the power button was pressed".to_owned()));
                }
            }
        }
    }

    fn take_signals(&mut self) {
        for _ in 0..MOST_SIGNALS {
            let Some(signal) = self.signals.as_ref().and_then(sys::next_signal) else { return };
            let is = |known: &i32| u32::try_from(*known) == Ok(signal);
            if let Some((_, who, goal)) = STOP_SIGNALS.iter().find(|(known, ..)| is(known)) {
                self.tell(Event::Stop(*goal, (*who).to_owned()));
            } else if !OWN_SIGNALS.iter().any(is) {
                console::log(LogLevel::Debug, &format!("passing signal {signal} on to the program"));
                self.program.into_iter().for_each(|program| sys::send_signal(program, signal));
            }
        }
    }
}
