//! Keeps MemberClusters true: joins, health, served APIs, room.
