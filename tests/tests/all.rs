//! Every promise of the house, by what it is about. One program, because linking sixty takes longer than running most of
//! them; each test still runs in a process of its own. `./dev test outage` runs one file.

// The house itself.
mod deploy;
mod deploy_images;
mod deploy_machines;
mod deploy_users;
mod deploy_watching;
mod forged;
mod fuzz;
mod harness;
mod house;
mod secrets;
mod security;

// Events in Postgres, and who may do what there.
mod inbox;
mod least_rights;
mod migrations;
mod producer;
mod relay_rights;
mod rights;
mod sql;
mod sql_rights;
mod sql_schemas;
mod standing;
mod views;

// The relay, from row to stream.
mod cluster;
mod crash;
mod crash_letters;
mod crash_rebuild;
mod hostile;
mod loss;
mod model;
mod outage;
mod partitions;
mod pause;
mod race;
mod randomized;
mod refusal;
mod relaying;
mod retention;
mod tls;
mod trimming;
mod two_stories;
mod waiting;

// The consumer runtime, from stream to effect.
mod consumer_crash;
mod consumer_handover;
mod consumer_loss;
mod consumer_outage;
mod consumer_random;
mod consuming;
mod dead_letters;
mod examples;
mod full_disk;
mod second_look;
mod testing_kit;

// All of that at once, at random.
mod chaos;

// The operator's surface.
mod admin;
mod admin_dead;
mod bad_input;
mod cli;
mod doctor;
mod gateway;
mod intruders;
mod masking;
mod openapi;
mod page;
mod pooler;
mod traces;
mod watch;

// Fallah.
mod crawl_crash;
mod crawl_manners;
mod crawl_traps;
mod crawling;

// Hasad.
mod archive_check;
mod archive_crash;
mod archive_input;
mod archive_outage;
mod archive_purge;
mod archive_rebuild;
mod archive_sweep;
mod archive_verbs;
mod archiving;

// Bisan.
mod projecting;
mod projecting_crash;
mod projecting_faults;
mod projecting_reindex;
mod projecting_restored;
mod reading;
mod reading_authors;
mod reading_crash;
mod reading_mending;
mod reading_outage;
mod reading_page;
mod reading_search;
mod rebuilding;

// All of it, in one process and in many.
mod docs;
mod journey;
mod metrics;
mod pipeline;
mod pipeline_lost;
mod pipeline_page;
mod pipeline_servers;
mod pipeline_settings;
mod programs;
