-- A person asked that nothing be sent: to one stream, or to any. It stands here so that it outlives relays and binds all of them.
alter table outbox_stream add column paused_at timestamptz, add column paused_by text;
alter table outbox_relay  add column paused_at timestamptz, add column paused_by text,
                          add column changes       bigint not null default 0,   -- how often somebody paused or resumed
                          add column changes_heard bigint not null default 0;   -- what the relay that works acts upon
