//! Tables of inputs and the effects that they have, for every race that the simulation found.

mod batches;
mod calls;
mod ends;
mod failures;
mod keys;
mod queue;
mod script;
mod stops;
