//! Index, engine, plan, gate, Placement: the only writer of decisions.
