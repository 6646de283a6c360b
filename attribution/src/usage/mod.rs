//! Token usage from responses of every provider family.
