//! One pass per member: observe, plan, act, report.
