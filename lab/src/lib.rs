//! The lab: scenarios run in lock-step, their logs, and what is wrong with them.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`script_file`], [`scenario`] | scripts and scenario folders, read and checked |
//! | [`ports`] | the port that the assignment gives each peer |
//! | [`loopback`] | an address of its own for each run |
//! | [`run`] | a scenario over real sockets, in this process or in one a node, or in virtual time |
//! | [`world`] | the machines in virtual time, without sockets: links, faults, scenarios |
//! | [`population`] | what lookups cost among up to millions of live peers in virtual time |
//! | [`trace`] | everything that happens in a run, event by event, and as a file |
//! | [`check`] | whether the order within a timestep matters, and which actions race |
//! | [`report`] | pictures of a run, drawn from its trace |
//! | [`json`] | JSON that people write, and what is wrong with it in words |
//! | `markup` | text in HTML and XML |
//! | [`plain`] | text that a terminal shows as it is |
//! | [`grade`] | logs compared and explained, and the assignment's rubric |
//! | [`shell`] | commands as a shell reads them |
//! | [`submission`] | somebody else's programs, run apart from everything, and graded |

pub mod check;
pub mod grade;
pub mod json;
pub mod loopback;
mod markup;
pub mod plain;
pub mod population;
pub mod ports;
pub mod report;
pub mod run;
pub mod scenario;
pub mod script_file;
pub mod shell;
pub mod submission;
pub mod trace;
pub mod world;
