//! The promises, told as scripts of events.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn rules(restart: Restart) -> Supervise {
    Supervise { restart, ..Supervise::default() }
}

/// A supervisor whose program has started at time zero.
fn running(rules: Supervise) -> Supervisor {
    let mut supervisor = Supervisor::new("/bin/x", rules, Duration::ZERO);
    assert_eq!(supervisor.handle(Duration::ZERO, Event::Ready), [Action::Start]);
    assert_eq!(supervisor.handle(Duration::ZERO, Event::Started), []);
    supervisor
}

/// What the actions come to, one word each, and the text of the last log line.
fn words(actions: &[Action]) -> (Vec<&'static str>, String) {
    let mut said = String::new();
    let words = actions.iter().map(|action| match action {
        Action::Start => "start",
        Action::AskProgram => "ask program",
        Action::KillProgram => "kill program",
        Action::AskAll => "ask all",
        Action::KillAll => "kill all",
        Action::Log(_, text) => {
            said = text.clone();
            "log"
        }
        Action::LogWait => "log wait",
        Action::ShowLastLines => "show",
        Action::End(End { goal: Goal::PowerOff, .. }) => "power off",
        Action::End(End { goal: Goal::Reboot, .. }) => "reboot",
    });
    (words.collect(), said)
}

#[track_caller]
fn check(actions: &[Action], expect: &[&str], say: &str) {
    let (words, said) = words(actions);
    assert_eq!((words.as_slice(), said.as_str()), (expect, say));
}

#[test]
fn the_programs_end_is_the_machines() {
    let mut supervisor = running(rules(Restart::Never));
    let why = "the program /bin/x exited with status 3 after 1.2 s, and restart is never";
    let actions = supervisor.handle(Duration::from_millis(1200), Event::Ended(Ending::Exited(3)));
    check(&actions, &["show", "log", "ask all"], why);
    let end = supervisor.handle(SECOND * 2, Event::Alone);
    let expect = End { goal: Goal::PowerOff, ending: Some(Ending::Exited(3)), why: why.to_owned() };
    assert_eq!(end, [Action::End(expect)]);
    assert_eq!(supervisor.handle(SECOND * 3, Event::Stop(Goal::Reboot, "late".to_owned())), []);
}

#[test]
fn a_success_is_no_failure() {
    let mut supervisor = running(rules(Restart::OnFailure));
    let actions = supervisor.handle(SECOND, Event::Ended(Ending::Exited(0)));
    check(
        &actions,
        &["log", "ask all"],
        "the program /bin/x exited with status 0 after 1.0 s, and restart is on-failure",
    );
}

/// Ends the program at once, again and again; the waits between, in milliseconds, until something else happens.
fn waits(supervisor: &mut Supervisor, most: usize) -> (Vec<u128>, Vec<Action>) {
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    loop {
        let actions = supervisor.handle(now, Event::Ended(Ending::Killed(11)));
        let Some(until) = supervisor.deadline().filter(|_| !supervisor.is_stopping()) else { return (waits, actions) };
        waits.push((until - now).as_millis());
        if waits.len() == most {
            return (waits, actions);
        }
        now = until;
        assert_eq!(supervisor.handle(now, Event::Tick), []);
        assert_eq!(supervisor.handle(now, Event::Alone), [Action::Start]);
        supervisor.handle(now, Event::Started);
    }
}

#[test]
fn the_wait_doubles_up_to_the_limit_and_then_the_machine_restarts() {
    let mut supervisor = running(Supervise { delay_max: SECOND, ..rules(Restart::Always) });
    let (waits, actions) = waits(&mut supervisor, 99);
    assert_eq!(waits, [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000]);
    let why = "the program /bin/x was killed by signal 11 (SIGSEGV) after 0 ms; that was failure 10 in a row: the machine restarts";
    check(&actions, &["show", "log", "ask all"], why);
    check(&supervisor.handle(SECOND * 99, Event::Alone), &["reboot"], "");
}

#[test]
fn a_crash_loop_can_go_on_for_ever() {
    for (on_crash_loop, limit) in [(OnCrashLoop::KeepTrying, 3), (OnCrashLoop::Reboot, 0)] {
        let mut supervisor =
            running(Supervise { on_crash_loop, limit, delay_max: SECOND / 5, ..rules(Restart::Always) });
        assert_eq!(waits(&mut supervisor, 6).0, [100, 200, 200, 200, 200, 200]);
    }
    let mut supervisor = running(Supervise { delay: Duration::ZERO, limit: 0, ..rules(Restart::Always) });
    let actions = supervisor.handle(SECOND, Event::Ended(Ending::Exited(1)));
    let say = "the program /bin/x exited with status 1 after 1.0 s; starting it again in 0 ms (failure 1)";
    check(&actions, &["show", "kill all", "log"], say);
    check(&supervisor.handle(SECOND, Event::Alone), &["start"], "");
}

#[test]
fn the_next_run_waits_until_nobody_of_the_last_one_is_left_but_not_for_ever() {
    let mut supervisor = running(rules(Restart::Always));
    supervisor.handle(SECOND, Event::Ended(Ending::Exited(1)));
    // Nobody is left long before the wait is over.
    assert_eq!(supervisor.handle(SECOND, Event::Alone), []);
    let until = supervisor.deadline().unwrap();
    assert_eq!(supervisor.handle(until, Event::Tick), []);
    assert_eq!(supervisor.deadline(), Some(until + KILL_PATIENCE));
    let actions = supervisor.handle(until + KILL_PATIENCE, Event::Tick);
    check(&actions, &["log", "start"], "some processes of the last run cannot be killed");
}

#[test]
fn a_healthy_run_forgives_the_failures_before_it() {
    let mut supervisor = running(rules(Restart::Always));
    waits(&mut supervisor, 5);
    supervisor.handle(SECOND * 50, Event::Tick);
    supervisor.handle(SECOND * 50, Event::Alone);
    supervisor.handle(SECOND * 50, Event::Started);
    let actions = supervisor.handle(SECOND * 60, Event::Ended(Ending::Exited(0)));
    let say = "the program /bin/x exited with status 0 after 10.0 s; starting it again in 100 ms (failure 1 of 10)";
    check(&actions, &["kill all", "log"], say);
}

#[test]
fn a_stop_asks_waits_and_kills() {
    let mut supervisor = running(rules(Restart::Always));
    let actions = supervisor.handle(SECOND, Event::Stop(Goal::PowerOff, "the power button".to_owned()));
    check(&actions, &["log", "ask program"], "stopping the machine: the power button");
    assert_eq!(supervisor.handle(SECOND * 2, Event::Stop(Goal::Reboot, "again".to_owned())), []);
    assert_eq!(supervisor.handle(SECOND * 5, Event::Tick), []);
    let actions = supervisor.handle(SECOND * 6, Event::Tick);
    check(&actions, &["log", "kill program", "kill all"], "the program /bin/x does not end by itself: killing it");
    assert_eq!(supervisor.handle(SECOND * 6, Event::Ended(Ending::Killed(9))), []);
    let [Action::End(end)] = &supervisor.handle(SECOND * 6, Event::Alone)[..] else { panic!() };
    assert_eq!((end.goal, end.ending), (Goal::PowerOff, Some(Ending::Killed(9))));
}

#[test]
fn a_program_that_ends_when_asked_is_followed_by_its_leftovers() {
    let mut supervisor = running(rules(Restart::Always));
    supervisor.handle(SECOND, Event::Stop(Goal::Reboot, "x".to_owned()));
    let actions = supervisor.handle(SECOND, Event::Ended(Ending::Exited(0)));
    check(&actions, &["log", "ask all"], "the program /bin/x exited with status 0");
    let actions = supervisor.handle(SECOND * 3, Event::Tick);
    check(&actions, &["log", "kill all"], "some processes do not end by themselves: killing them");
    let actions = supervisor.handle(SECOND * 5, Event::Tick);
    check(&actions, &["log", "reboot"], "some processes cannot be killed");
}

#[test]
fn a_stop_between_two_runs_starts_nothing_more() {
    let mut supervisor = running(rules(Restart::Always));
    supervisor.handle(SECOND, Event::Ended(Ending::Exited(1)));
    supervisor.handle(SECOND, Event::Stop(Goal::PowerOff, "x".to_owned()));
    check(&supervisor.handle(SECOND, Event::Alone), &["power off"], "");
}

#[test]
fn what_is_waited_for_is_said_now_and_then() {
    let mut supervisor = Supervisor::new("/bin/x", rules(Restart::Always), Duration::ZERO);
    for due in [5, 35, 65] {
        assert_eq!(supervisor.deadline(), Some(SECOND * due));
        assert_eq!(supervisor.handle(SECOND * due, Event::Tick), [Action::LogWait]);
    }
    assert_eq!(supervisor.handle(SECOND * 70, Event::Ready), [Action::Start]);
}

#[test]
fn what_is_missing_for_good_ends_the_machine_without_a_start() {
    for (restart, end) in [(Restart::Never, "power off"), (Restart::Always, "reboot")] {
        let mut supervisor = Supervisor::new("/bin/x", rules(restart), Duration::ZERO);
        let actions = supervisor.handle(SECOND, Event::Impossible("there is no disk".to_owned()));
        check(&actions, &["log", "ask all"], "there is no disk");
        assert_eq!(supervisor.handle(SECOND, Event::Ready), []);
        check(&supervisor.handle(SECOND, Event::Alone), &[end], "");
    }
}

#[test]
fn a_program_that_cannot_start_is_a_failure() {
    let mut supervisor = Supervisor::new("/bin/x", rules(Restart::OnFailure), Duration::ZERO);
    supervisor.handle(SECOND, Event::Ready);
    let actions = supervisor.handle(SECOND, Event::NotStarted(crate::ending::NOT_FOUND, "no such file".to_owned()));
    check(&actions, &["show", "kill all", "log"], "no such file; starting it again in 100 ms (failure 1 of 10)");
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Ready),
        Just(Event::Impossible("x".to_owned())),
        Just(Event::Started),
        Just(Event::NotStarted(Ending::Exited(127), "x".to_owned())),
        any::<u8>().prop_map(|n| Event::Ended(Ending::Exited(n))),
        Just(Event::Alone),
        Just(Event::Stop(Goal::PowerOff, "x".to_owned())),
        Just(Event::Tick),
    ]
}

proptest! {
    /// Whatever comes in whatever order: at most one end, nothing after it, and no start once the machine stops.
    #[test]
    fn no_order_of_events_confuses_it(events in prop::collection::vec((event(), 0_u64..20_000), 0..60), limit in 0_u32..4) {
        let mut supervisor = Supervisor::new("/bin/x", Supervise { limit, ..rules(Restart::Always) }, Duration::ZERO);
        let (mut now, mut has_ended) = (Duration::ZERO, false);
        for (event, wait) in events {
            now += Duration::from_millis(wait);
            let was_stopping = supervisor.is_stopping();
            let actions = supervisor.handle(now, event);
            prop_assert!(!has_ended || actions.is_empty());
            prop_assert!(!was_stopping || !actions.contains(&Action::Start));
            has_ended |= actions.iter().any(|action| matches!(action, Action::End(_)));
        }
        // Left alone, a stopping machine ends.
        for _ in 0..4 {
            if let Some(until) = supervisor.deadline().filter(|_| supervisor.is_stopping()) {
                has_ended |= supervisor.handle(until, Event::Tick).iter().any(|action| matches!(action, Action::End(_)));
            }
        }
        prop_assert_eq!(has_ended, supervisor.is_stopping());
    }
}
