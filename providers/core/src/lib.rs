//! What every provider of clusters shares: connections, capacity, prices.
