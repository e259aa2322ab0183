//! What a population must do: repeat itself, find what is there, and feel each fault.

use std::time::Duration;

use super::drive::Drive;
use super::place::settle;
use super::report::Report;
use super::{Churn, Plan, PlanError, RunError, Search, run};
use crate::world::engine::Mistake;
use crate::world::links::Links;

fn plan() -> Plan {
    let links = Links { handshake: true, ..Links::new(Duration::from_millis(20)) };
    Plan {
        peers: 200,
        keys: 20,
        copies: 4,
        zipf: None,
        lookups: 40,
        missing: 0.0,
        known: 3,
        search: Search::Ask,
        width: 1,
        links,
        faults: Vec::new(),
        churn: None,
        every: None,
        lease: None,
        give_up: None,
        seed: 1,
    }
}

fn done(plan: &Plan) -> Report {
    run(plan, &|| false).unwrap_or_else(|error| panic!("seed {}: {error}", plan.seed))
}

/// Lookups at set times, for long enough to see a fault, on a small population.
fn troubled(faults: &[&str]) -> Plan {
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let every = Some(Duration::from_secs(1));
    Plan { faults, every, peers: 50, lease: Some(Duration::from_secs(30)), ..plan() }
}

#[test]
fn a_seed_repeats_a_run_and_another_seed_is_another_run() {
    let jitter = Links { jitter: Duration::from_millis(9), loss: 0.05, ..plan().links };
    let churn = Some(Churn { up: Duration::from_secs(20), down: Duration::from_secs(5) });
    for plan in [
        plan(),
        Plan { zipf: Some(1.0), width: 4, ..plan() },
        Plan { links: jitter.clone(), churn, ..troubled(&["partition:30%@5+5", "outage@12+3"]) },
        Plan { links: jitter, search: Search::Walk { walkers: 4, ttl: 50 }, ..plan() },
    ] {
        assert_eq!(done(&plan), done(&plan));
        assert_ne!(done(&plan), done(&Plan { seed: 2, ..plan.clone() }));
    }
}

#[test]
fn whatever_somebody_has_is_found_and_what_nobody_has_costs_everybody() {
    for seed in 1..6 {
        let report = done(&Plan { seed, ..plan() });
        assert_eq!((report.found, report.findable), (40, 40), "seed {seed}");
        assert!(report.hops.max >= 1.0);
    }
    let nobody = done(&Plan { copies: 0, lookups: 3, ..plan() });
    assert_eq!((nobody.found, nobody.findable), (0, 0));
    let nothing = done(&Plan { missing: 1.0, lookups: 3, ..plan() });
    assert_eq!((nothing.found, nothing.findable), (0, 0));
    // A page of the tracker, everybody asked for the key and for whom it knows; and each answer.
    assert_eq!(nothing.messages.max, 2.0 * (1.0 + 199.0 + 199.0));
    // 1 is asked in each, unless it is the one who looks.
    assert!(nothing.busiest.load.questions >= 4);
}

/// Each check of a run catches its mistake, which only tests can make.
#[test]
fn each_check_catches_its_mistake() {
    let wrong = |plan: &Plan, mistake| {
        let (mut world, catalog) = settle(plan, &|| false).unwrap();
        world.mistake = Some(mistake);
        match Drive::new(plan, &mut world, catalog).run(&|| false) {
            Err(RunError::Property(problem)) => problem,
            other => panic!("{mistake:?} is not caught: {other:?}"),
        }
    };
    assert!(wrong(&plan(), Mistake::SaysYes).contains("and one of them does not hold it"));
    // Also where not everything has to be found.
    let churn = Some(Churn { up: Duration::from_secs(20), down: Duration::from_secs(5) });
    let troubled = Plan { churn, ..troubled(&["partition:50%@1+1000"]) };
    assert!(wrong(&troubled, Mistake::SaysYes).contains("and one of them does not hold it"));
    assert!(wrong(&plan(), Mistake::ListsNobody).contains("does not find"));
    assert!(wrong(&troubled, Mistake::LosesTimers).contains("has come to no end"));
}

#[test]
fn a_question_takes_its_round_trips_and_a_wider_search_is_faster() {
    // Everybody but the searcher has every key: the first who is asked has it.
    let all = Plan { peers: 2, copies: 1, keys: 1, known: 1, lookups: 1, ..plan() };
    let report = done(&all);
    // The list takes 40 ms; a connection 40 ms and its question 40 ms.
    assert_eq!(report.latency_ms.max, 120.0);
    assert_eq!(report.messages.max, 4.0);
    // Among 16 that are listed it is asked at the same time as the others, whoever it is.
    let listed = Plan { peers: 17, copies: 1, known: 0, width: 16, ..plan() };
    for seed in 1..6 {
        let report = done(&Plan { seed, ..listed.clone() });
        assert_eq!((report.found, report.latency_ms.max), (40, 120.0), "seed {seed}");
    }
    let wide = done(&Plan { width: 16, ..plan() });
    assert!(wide.latency_ms.mean * 4.0 < done(&plan()).latency_ms.mean);
}

#[test]
fn popular_keys_get_cheaper_as_they_spread() {
    let many = |zipf| Plan { lookups: 400, copies: 1, keys: 50, zipf, ..plan() };
    let (even, popular) = (done(&many(None)), done(&many(Some(1.2))));
    assert!(popular.messages.mean < even.messages.mean, "{} {}", popular.messages.mean, even.messages.mean);
}

#[test]
fn floods_and_walks_find_what_is_near() {
    let flood = done(&Plan { search: Search::Flood { ttl: 8 }, ..plan() });
    assert!(flood.found > 30, "{}", flood.found);
    assert!(flood.hops.max <= 8.0 && flood.hops.mean > 1.0);
    assert_eq!(flood.tracker.questions, 0);
    let near = done(&Plan { search: Search::Flood { ttl: 1 }, ..plan() });
    assert!(near.found < flood.found && near.messages.max <= 3.0 * 2.0 + 40.0);
    let walk = done(&Plan { search: Search::Walk { walkers: 8, ttl: 200 }, ..plan() });
    assert!(walk.found > 30, "{}", walk.found);
    // A walker that heard of the find stops within four steps.
    assert!(walk.messages.max < 8.0 * 200.0);
}

#[test]
fn each_fault_has_its_effect() {
    let calm = done(&troubled(&[]));
    assert_eq!((calm.found, calm.findable), (40, 40));

    // Without a tracker nobody gets its list, and afterwards it is empty until renewals come. Who
    // knows others finds its way by the longer list all the same.
    let outage = |known| done(&Plan { known, ..troubled(&["outage@5+10"]) });
    assert!(outage(0).found < 36, "{}", outage(0).found);
    assert!(outage(4).found > outage(0).found);

    // Peers that are gone hold nothing that can be found.
    let crash = done(&troubled(&["crash:60%@0.5"]));
    assert!(crash.findable < 40 && crash.found <= crash.findable);
    let back = done(&troubled(&["crash:60%@0.5+2"]));
    assert!(back.findable > crash.findable);

    // Nobody answers across a partition; each question runs into its timeout.
    let partition = done(&troubled(&["partition:50%@1+30"]));
    assert!(partition.latency_ms.max >= 10_000.0 && calm.latency_ms.max < 10_000.0);

    // A peer that stalls answers late.
    let stall = done(&troubled(&["stall:1-25@3+5"]));
    assert!(stall.latency_ms.max >= 4_000.0 && stall.latency_ms.max > calm.latency_ms.max);
    assert_eq!(stall.found, 40);
}

#[test]
fn loss_churn_and_bandwidth_have_their_effect() {
    let loss = done(&Plan { copies: 1, links: Links { loss: 0.3, ..plan().links }, ..plan() });
    assert!(loss.found < 40 && loss.found > 5, "{}", loss.found);
    let churn = Some(Churn { up: Duration::from_secs(10), down: Duration::from_secs(10) });
    let churning = done(&Plan { churn, copies: 1, ..troubled(&[]) });
    assert!(churning.findable < 40 && churning.found < 40, "{churning:?}");
    let narrow = done(&Plan { links: Links { bandwidth: Some(10_000), ..plan().links }, ..plan() });
    assert!(narrow.latency_ms.mean > done(&plan()).latency_ms.mean * 1.2);
    let hasty = done(&Plan { give_up: Some(Duration::from_millis(500)), ..plan() });
    assert!(hasty.cut_short > 0 && hasty.latency_ms.max <= 500.0);
}

#[test]
fn a_fault_within_another_does_not_end_it() {
    let one = done(&troubled(&["crash:60%@0.5+20", "outage@0.5+20"]));
    assert!(one.found < one.findable || one.findable < 40);
    // The share is drawn once for each fault; all of them have the same peers.
    let ids = "crash:1-30@1+20";
    let both = done(&troubled(&[ids, "crash:1-30@2+1", "outage@1+20", "outage@3+2"]));
    assert_eq!(both, done(&troubled(&[ids, "outage@1+20"])));
    assert_ne!(both, done(&troubled(&["crash:1-30@1+2", "outage@1+4"])));
}

#[test]
fn slow_links_are_no_mistake_of_ours_and_come_to_an_end() {
    // Registering takes 8 s, and a question to a peer 16, for which nobody waits.
    let slow = Links { latency: Duration::from_secs(4), ..plan().links };
    let slow = done(&Plan { links: slow, lookups: 3, peers: 20, ..plan() });
    assert_eq!((slow.found, slow.findable), (0, 3));
    // Most messages take hours; a registration takes a quarter of an hour.
    for links in [
        Links { jitter: Duration::from_secs(36_000), ..plan().links },
        Links { bandwidth: Some(1), ..plan().links },
    ] {
        let error = run(&Plan { links, peers: 20, ..plan() }, &|| false).unwrap_err();
        let RunError::Unsettled { registered, peers: 20 } = error else { panic!("{error}") };
        assert!(registered < 20);
    }
}

#[test]
fn a_population_that_is_being_made_can_be_stopped() {
    // It has been asked twice, so the peers are there, and keys are being handed out.
    let asked = std::cell::Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 2;
    let plan = Plan { peers: 5000, keys: 5_000_000, copies: 10, ..plan() };
    assert_eq!(run(&plan, &stop), Err(RunError::Stopped));
}

#[test]
fn plans_that_cannot_be_are_told_why() {
    let fails = |plan: Plan| plan.check().unwrap_err().to_string();
    assert!(fails(Plan { peers: 0, ..plan() }).contains("1 to 10000000 peers, not 0"));
    assert!(fails(Plan { copies: 201, ..plan() }).contains("201 copies of a key need as many peers"));
    assert!(fails(Plan { known: 200, ..plan() }).contains("nobody can know 200 others"));
    assert!(fails(Plan { keys: 0, ..plan() }).contains("no key to look for"));
    assert!(fails(Plan { keys: 1_000_000_000, ..plan() }).contains("at most 10000000 keys"));
    assert!(fails(Plan { keys: 1_000_000, copies: 200, ..plan() }).contains("room for 100000000"));
    assert!(fails(Plan { peers: 1_000_000, known: 200, ..plan() }).contains("200 others known to 1000000"));
    let links = Links { loss: 1.0, ..plan().links };
    assert!(fails(Plan { links, ..plan() }).contains("100% of the questions are lost"));
    let links = Links { latency: Duration::from_secs(20), ..plan().links };
    assert!(fails(Plan { links, ..plan() }).contains("a message alone takes 20s"));
    assert!(fails(troubled(&["crash:51@1"])).contains("there is no peer 51"));
    assert!(fails(troubled(&["crash:5@40"])).contains("the run is over by then"));
    let churn = Some(Churn { up: Duration::from_secs(1), down: Duration::from_secs(1) });
    assert_eq!(Plan { churn, ..plan() }.check(), Err(PlanError::NoTimes));
    assert_eq!(run(&Plan { peers: 5000, ..plan() }, &|| true), Err(RunError::Stopped));
}
