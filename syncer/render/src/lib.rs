//! What each member is to hold: rendering, the sync plan, health and the roll-up of status.
