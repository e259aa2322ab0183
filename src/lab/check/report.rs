//! What `askaround lab check` prints, for people and as JSON.

use std::fmt::Write;
use std::path::Path;

use askaround_core::PeerId;
use askaround_core::message::Timestep;
use askaround_lab::check::{ActionId, Check, Logs, Race, TurnOrder};
use askaround_lab::run::{TRACKER_LOG, log_name};
use askaround_lab::scenario::Scenario;
use askaround_lab::script_file::Place;
use askaround_lab::shell::quote;
use serde::Serialize;

/// So many races, and so many entries of each, are printed for people; JSON has them all.
const SHOWN: usize = 10;

/// How actions are called.
pub(super) struct Names<'a> {
    pub(super) scenario: &'a Scenario,
    /// The folder as it was given.
    pub(super) dir: &'a Path,
}

/// An action of a script.
#[derive(Debug, Serialize)]
pub(super) struct Act {
    client: PeerId,
    time: Timestep,
    action: String,
    file: String,
    #[serde(flatten)]
    place: Place,
    /// Whether another action stands on the same line.
    #[serde(skip)]
    shares_line: bool,
}

/// An entry of a log.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    log: String,
    /// Its place in the log, from 0.
    index: usize,
    time: Timestep,
    /// What it belongs to; the tracker's entries belong to no action.
    of: Option<Act>,
}

/// An entry that is not the same in two runs.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    #[serde(flatten)]
    entry: Entry,
    by_id: Option<String>,
    in_this_order: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownVarying {
    #[serde(flatten)]
    entry: Entry,
    by_id: String,
    others: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownRace {
    time: Timestep,
    actions: [Act; 2],
    orders: [ShownOrder; 2],
    entries: Vec<ShownEntry>,
}

#[derive(Debug, Serialize)]
struct ShownOrder {
    first: PeerId,
    /// The difference from turns by id.
    order: Vec<String>,
    command: String,
}

#[derive(Debug, Serialize)]
struct ShownEntry {
    #[serde(flatten)]
    entry: Entry,
    texts: [String; 2],
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: String,
    order_matters: bool,
    tried: usize,
    exhaustive: bool,
    seed: u64,
    stopped: bool,
    entries: Vec<ShownVarying>,
    races: Vec<ShownRace>,
}

impl Names<'_> {
    fn act(&self, action: ActionId) -> Act {
        let (path, script) = &self.scenario.scripts[action.peer];
        let places = &self.scenario.places[action.peer];
        let place = places[action.index];
        let (time, what) = &script.actions[action.index];
        Act {
            client: script.id,
            time: *time,
            action: what.to_string(),
            file: path.display().to_string(),
            place,
            shares_line: places.iter().filter(|other| other.line == place.line).count() > 1,
        }
    }

    /// The entry of an action: the first of a log is the registration at time 0.
    fn entry(&self, action: ActionId) -> Entry {
        let act = self.act(action);
        Entry { log: log_name(act.client), index: action.index + 1, time: act.time, of: Some(act) }
    }

    /// What differs between two runs.
    pub(super) fn differences(&self, by_id: &Logs, logs: &Logs) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (peer, (_, script)) in self.scenario.scripts.iter().enumerate() {
            let text =
                |logs: &Logs, index: usize| logs.peers[&script.id].get(index + 1).map(|e| e.text.clone());
            for index in 0..script.actions.len() {
                let (by_id, in_this_order) = (text(by_id, index), text(logs, index));
                if by_id != in_this_order {
                    let entry = self.entry(ActionId { peer, index });
                    differences.push(Difference { entry, by_id, in_this_order });
                }
            }
        }
        differences.sort_by_key(|difference| difference.entry.time);
        for (index, (before, after)) in by_id.tracker.iter().zip(&logs.tracker).enumerate() {
            if before.text != after.text {
                let entry = Entry { log: TRACKER_LOG.into(), index, time: before.time, of: None };
                let (by_id, in_this_order) = (Some(before.text.clone()), Some(after.text.clone()));
                differences.push(Difference { entry, by_id, in_this_order });
            }
        }
        differences
    }

    fn race(&self, race: &Race) -> ShownRace {
        let actions = race.actions.map(|action| self.act(action));
        let time = actions[0].time;
        let order = |first: PeerId, told: &[TurnOrder]| {
            let order: Vec<String> = told.iter().map(ToString::to_string).collect();
            // Whoever has the lowest id of all is first by id, so that is an order too.
            let by_id = || vec![format!("{time}:{}", self.lowest(time).unwrap_or(first))];
            let words = if order.is_empty() { by_id() } else { order.clone() };
            let words: String = words.iter().map(|word| format!(" --order {word}")).collect();
            let dir = self.dir.to_string_lossy();
            let command = format!("askaround lab check {}{words}", quote(&dir));
            ShownOrder { first, order, command }
        };
        let [first, second] = &race.orders;
        let orders = [order(actions[0].client, first), order(actions[1].client, second)];
        let entries = race
            .entries
            .iter()
            .map(|(action, texts)| ShownEntry { entry: self.entry(*action), texts: texts.clone() });
        let mut entries: Vec<ShownEntry> = entries.collect();
        entries.sort_by_key(|entry| entry.entry.time);
        ShownRace { time, actions, orders, entries }
    }

    /// The lowest id of those who act in a timestep.
    fn lowest(&self, time: Timestep) -> Option<PeerId> {
        let mut scripts = self.scenario.scripts.iter();
        scripts.find(|(_, s)| s.actions.iter().any(|(at, _)| *at == time)).map(|(_, script)| script.id)
    }
}

impl Act {
    fn is(&self, other: &Self) -> bool {
        (self.client, self.place) == (other.client, other.place)
    }

    fn place(&self) -> String {
        let Place { line, column } = self.place;
        if self.shares_line {
            format!("{}:{line}:{column}", self.file)
        } else {
            format!("{}:{line}", self.file)
        }
    }
}

impl Report {
    pub(super) fn new(names: &Names<'_>, check: &Check, seed: u64) -> Self {
        let varying = check.varying.iter().map(|varying| ShownVarying {
            entry: names.entry(varying.action),
            by_id: varying.by_id.clone(),
            others: varying.others.iter().cloned().collect(),
        });
        Self {
            scenario: names.scenario.name.clone(),
            order_matters: !check.varying.is_empty(),
            tried: check.tried,
            exhaustive: check.exhaustive,
            seed,
            stopped: check.stopped,
            entries: varying.collect(),
            races: check.races.iter().map(|race| names.race(race)).collect(),
        }
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { scenario, entries, races, tried, .. } = self;
        if entries.is_empty() {
            let sure =
                if self.exhaustive { "the logs do not depend" } else { "the logs were not seen to depend" };
            writeln!(out, "{scenario}: {sure} on the order within a timestep")?;
        } else {
            let (e, r) = (
                count(entries.len(), "log entry varies", "log entries vary"),
                count(races.len(), "race", "races"),
            );
            writeln!(out, "{scenario}: the logs depend on the order within a timestep: {e}, {r}")?;
        }
        if self.exhaustive {
            writeln!(
                out,
                "{} tried: every one that can make a difference",
                count(*tried, "order", "orders")
            )?;
        } else {
            let orders = count(*tried, "order", "orders");
            writeln!(
                out,
                "{orders} tried, some of them at random (--seed {}); there are more (--orders)",
                self.seed
            )?;
        }
        for (number, race) in races.iter().take(SHOWN).enumerate() {
            write_race(out, number + 1, race)?;
        }
        if races.len() > SHOWN {
            writeln!(out, "\n{} more races: --json shows them", races.len() - SHOWN)?;
        }
        Ok(())
    }
}

fn write_race(out: &mut String, number: usize, race: &ShownRace) -> std::fmt::Result {
    writeln!(out, "\nrace {number}, in timestep {}", race.time)?;
    for act in &race.actions {
        writeln!(out, "  {}: client {}: {}", act.place(), act.client, act.action)?;
    }
    for ShownEntry { entry, texts } in race.entries.iter().take(SHOWN) {
        // Where an action stands is said once.
        let named = entry.of.as_ref().filter(|act| race.actions.iter().any(|a| a.is(act)));
        let of = named.map_or_else(|| entry_of(entry), |act| format!(": {}", act.action));
        writeln!(out, "  {}, time {}{of}", entry.log, entry.time)?;
        for (order, text) in race.orders.iter().zip(texts) {
            writeln!(out, "    client {} first: {text}", order.first)?;
        }
    }
    if race.entries.len() > SHOWN {
        writeln!(out, "  and {} more entries", race.entries.len() - SHOWN)?;
    }
    for order in &race.orders {
        writeln!(out, "  client {} first: {}", order.first, order.command)?;
    }
    Ok(())
}

fn entry_of(entry: &Entry) -> String {
    entry.of.as_ref().map_or_else(String::new, |act| format!(": {} ({})", act.action, act.place()))
}

/// What one order changes, for people.
pub(super) fn render_differences(scenario: &str, order: &[String], differences: &[Difference]) -> String {
    let order = order.join(" ");
    let mut text = match differences.len() {
        0 => format!("{scenario}: in the order {order} the logs are those of turns by id\n"),
        n => format!(
            "{scenario}: in the order {order} {} from turns by id\n",
            count(n, "entry differs", "entries differ")
        ),
    };
    for Difference { entry, by_id, in_this_order } in differences {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".into());
        let _ = write!(
            text,
            "  {}, time {}{}\n    by id:         {}\n    in this order: {}\n",
            entry.log,
            entry.time,
            entry_of(entry),
            shown(by_id),
            shown(in_this_order)
        );
    }
    text
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
