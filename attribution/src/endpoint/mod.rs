//! Which provider and which operation a request is for, from a catalogue that is data.
