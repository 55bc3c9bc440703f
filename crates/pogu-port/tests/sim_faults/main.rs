//! A simulation in which things go wrong: each knob is met when it is on, and never when it is off; whatever happens,
//! everything adds up, nothing is lost that no fault took, and a seed tells the whole story.

mod cancels;
mod echo;
mod knobs;
mod seeds;
mod time;
