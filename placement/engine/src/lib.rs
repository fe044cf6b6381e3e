//! Decides on which clusters a workload runs, and says why.
