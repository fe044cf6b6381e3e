//! Garbage collection, namespaces, service accounts and time to live, as a client of the API.
