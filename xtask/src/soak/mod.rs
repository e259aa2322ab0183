//! `cargo xtask soak`: a tracker, peers and commands of the real program, in an order drawn from a
//! seed, while programs are killed and files change; and a look at whether what must hold does.

mod disk;
mod fetch;
mod message;
mod operation;
mod options;
mod process;
mod recipe;
mod record;
mod server;
mod tree;
mod worker;
mod world;

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

use disk::Place;
pub(crate) use options::Options;
use process::printed;
use server::Server;
use worker::Worker;
use world::World;

/// How often it is looked at what the programs use, and whether all of them run.
const LOOK: Duration = Duration::from_millis(200);

/// Does a run, and prints what happened.
///
/// # Errors
/// If there is a fault, or the run did not last as long as it was to.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    println!("cargo xtask soak {}", options.replay());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    // From now on a signal ends the run, and not this program, which has things to clean up.
    let signals = runtime.block_on(async { Signals::listen() });
    let mut signals = signals.map_err(|e| format!("cannot listen for signals: {e}"))?;
    let place = Place::new(options.full_disk)?;
    crate::release::build()?;
    let world = World::new(options, place)?;
    let mut random = fastrand::Rng::with_seed(options.seed);
    let randoms: Vec<_> = (0..options.workers).map(|_| random.fork()).collect();
    std::thread::scope(|scope| {
        let work = |(number, random)| {
            let world = &world;
            scope.spawn(move || Worker { world, number }.work(random))
        };
        let workers: Vec<_> = randoms.into_iter().enumerate().map(work).collect();
        let ended = || workers.iter().all(std::thread::ScopedJoinHandle::is_finished);
        runtime.block_on(watch(&world, &mut signals, ended));
    });
    let used = end_all(&world);
    println!("{:.0} s\n", world.elapsed().as_secs_f64());
    world.record.print_ends();
    println!("\n{used}");
    world.record.print_faults();
    let (faults, stopped) = (world.record.faults(), world.why_stopped().map(str::to_owned));
    if faults > 0 {
        let kept = world.place.keep();
        return Err(format!("{faults} faults; everything is kept in {kept}"));
    }
    println!("no faults");
    stopped.map_or(Ok(()), |why| Err(format!("the run was stopped: {why}")))
}

/// What ends a run from outside.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }
}

/// Looks after the run until all workers have ended.
async fn watch(world: &World, signals: &mut Signals, ended: impl Fn() -> bool) {
    while !ended() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = signals.interrupt.recv() => world.cut_short("Ctrl-C"),
            _ = signals.terminate.recv() => world.cut_short("SIGTERM"),
        }
        if world.place.is_nearly_full() {
            world.stop("the disk is nearly full");
        }
        for server in world.peers.iter().chain([&world.tracker]) {
            look_after(world, server);
        }
    }
}

/// Nobody ends by itself. Whoever does is started again, so that the run goes on.
fn look_after(world: &World, server: &Server) {
    let Some(mut state) = server.try_take() else { return };
    if let Some(end) = server.look(&mut state) {
        let what = format!("{} ended by itself with {end}", server.name);
        world.record.fault(&what, "", &printed(&server.stderr()));
        if let Err(why) = server.start(&mut state) {
            world.record.fault(&why, "", &printed(&server.stderr()));
        }
    }
}

/// Ends the peers and the tracker, looks at what they have said, and tells what they used.
fn end_all(world: &World) -> String {
    let mut lines = vec![format!(
        "{:<9} {:>12} {:>16} {:>6} {:>7}",
        "WHO", "MOST MEMORY", "MOST DESCRIPTORS", "LAST", "STARTS"
    )];
    for server in world.peers.iter().chain([&world.tracker]) {
        let mut state = server.take();
        if let Some(end) = server.end(&mut state, Signal::SIGTERM)
            && !end.is_by(Signal::SIGTERM)
        {
            let what = format!("{} was told to end and ended with {end}", server.name);
            world.record.fault(&what, "", &printed(&server.stderr()));
        }
        let used = state.used;
        lines.push(format!(
            "{:<9} {:>8.0} MiB {:>16} {:>6} {:>7}",
            server.name,
            used.peak_bytes / f64::from(1 << 20),
            used.most_descriptors,
            used.descriptors,
            used.starts
        ));
        let said = printed(&server.stderr());
        if let Some(at) = said.find("panicked") {
            let line = said[..at].rfind('\n').map_or(0, |at| at + 1);
            let after: Vec<_> = said[line..].lines().take(20).collect();
            world.record.fault(&format!("{} has panicked", server.name), "", &after.join("\n"));
        }
        let who = if std::ptr::eq(server, &world.tracker) { "tracker" } else { "peer" };
        said.lines().for_each(|line| world.record.message(who, line));
    }
    lines.join("\n")
}
