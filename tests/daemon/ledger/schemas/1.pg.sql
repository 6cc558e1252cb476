CREATE FUNCTION public.entry_is_final() RETURNS trigger
    LANGUAGE plpgsql
    AS $$BEGIN RAISE EXCEPTION 'ledger entries are never changed'; END$$;
CREATE TABLE public.alias (
    value text NOT NULL,
    customer_id bigint NOT NULL
);
CREATE TABLE public.customer (
    id bigint NOT NULL,
    pass_id text,
    ext_id text,
    value text,
    points bigint DEFAULT 0 NOT NULL,
    carried bigint DEFAULT 0 NOT NULL,
    same_as bigint
);
CREATE SEQUENCE public.customer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.customer_id_seq OWNED BY public.customer.id;
CREATE TABLE public.entry (
    id bigint NOT NULL,
    till text NOT NULL,
    ref text NOT NULL,
    kind text NOT NULL,
    seq bigint DEFAULT 0 NOT NULL,
    customer_id bigint NOT NULL,
    points bigint NOT NULL,
    carried bigint DEFAULT 0 NOT NULL,
    at text NOT NULL,
    why text NOT NULL,
    uid bigint
);
CREATE SEQUENCE public.entry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.entry_id_seq OWNED BY public.entry.id;
CREATE TABLE public.event (
    till text NOT NULL,
    seq bigint NOT NULL,
    method text NOT NULL,
    params text NOT NULL
);
CREATE TABLE public.meta (
    key text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.mirror (
    customer_id bigint NOT NULL,
    confirmed bigint,
    face text,
    dirty bigint DEFAULT 0 NOT NULL,
    said bigint DEFAULT 0 NOT NULL,
    since double precision,
    look text,
    settle double precision,
    retry double precision DEFAULT '0'::double precision NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    parked text,
    foreign_seen bigint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_until double precision DEFAULT '0'::double precision NOT NULL
);
CREATE SEQUENCE public.mirror_customer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.mirror_customer_id_seq OWNED BY public.mirror.customer_id;
CREATE TABLE public.mirror_send (
    id bigint NOT NULL,
    customer_id bigint NOT NULL,
    points bigint NOT NULL,
    base bigint NOT NULL,
    sent double precision NOT NULL,
    outcome text NOT NULL
);
CREATE SEQUENCE public.mirror_send_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.mirror_send_id_seq OWNED BY public.mirror_send.id;
CREATE TABLE public.news (
    id bigint NOT NULL,
    till text NOT NULL,
    kind text NOT NULL,
    ref text NOT NULL,
    status text DEFAULT ''::text NOT NULL
);
CREATE SEQUENCE public.news_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.news_id_seq OWNED BY public.news.id;
CREATE TABLE public.nfc_index (
    value text NOT NULL,
    pass_id text NOT NULL
);
CREATE TABLE public.program (
    version bigint NOT NULL,
    body text NOT NULL,
    at text NOT NULL
);
CREATE SEQUENCE public.program_version_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.program_version_seq OWNED BY public.program.version;
CREATE TABLE public.push (
    id bigint NOT NULL,
    customer_id bigint NOT NULL,
    till text NOT NULL,
    sale_id text NOT NULL,
    kind text NOT NULL,
    earned bigint NOT NULL,
    reward text NOT NULL,
    program bigint NOT NULL,
    state text NOT NULL,
    planned double precision NOT NULL,
    sent double precision
);
CREATE SEQUENCE public.push_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.push_id_seq OWNED BY public.push.id;
CREATE TABLE public.rate (
    endpoint text NOT NULL,
    used text NOT NULL
);
CREATE TABLE public.refund (
    till text NOT NULL,
    refund_id text NOT NULL,
    sale_till text NOT NULL,
    sale_id text NOT NULL,
    amount bigint NOT NULL,
    asked bigint,
    at text NOT NULL,
    uid bigint
);
CREATE TABLE public.reward_use (
    customer_id bigint NOT NULL,
    reward text NOT NULL,
    uses bigint NOT NULL
);
CREATE TABLE public.sale (
    till text NOT NULL,
    sale_id text NOT NULL,
    state text NOT NULL,
    total bigint NOT NULL,
    eligible bigint,
    paid bigint,
    refunded bigint DEFAULT 0 NOT NULL,
    customer_id bigint,
    reward text,
    taken bigint DEFAULT 0 NOT NULL,
    lapsed bigint DEFAULT 0 NOT NULL,
    declined text DEFAULT '[]'::text NOT NULL,
    program bigint NOT NULL,
    turn bigint NOT NULL,
    touched double precision NOT NULL,
    closed double precision,
    closed_at text,
    discount bigint DEFAULT 0 NOT NULL,
    earned bigint DEFAULT 0 NOT NULL,
    carried bigint DEFAULT 0 NOT NULL,
    returned bigint DEFAULT 0 NOT NULL,
    offline bigint DEFAULT 0 NOT NULL,
    balance_after bigint,
    offers text,
    message text,
    receipt text,
    why text DEFAULT ''::text NOT NULL,
    uid bigint
);
CREATE TABLE public.tap (
    tap_id text NOT NULL,
    till text NOT NULL,
    reader text NOT NULL,
    source text NOT NULL,
    status text NOT NULL,
    customer_id bigint,
    sale_id text,
    reason text,
    used bigint NOT NULL,
    steady double precision NOT NULL
);
CREATE TABLE public.till (
    name text NOT NULL,
    holder text NOT NULL,
    host text NOT NULL,
    until double precision NOT NULL
);
CREATE TABLE public.wish (
    customer_id bigint NOT NULL,
    till text NOT NULL,
    at double precision NOT NULL
);
ALTER TABLE ONLY public.customer ALTER COLUMN id SET DEFAULT nextval('public.customer_id_seq'::regclass);
ALTER TABLE ONLY public.entry ALTER COLUMN id SET DEFAULT nextval('public.entry_id_seq'::regclass);
ALTER TABLE ONLY public.mirror ALTER COLUMN customer_id SET DEFAULT nextval('public.mirror_customer_id_seq'::regclass);
ALTER TABLE ONLY public.mirror_send ALTER COLUMN id SET DEFAULT nextval('public.mirror_send_id_seq'::regclass);
ALTER TABLE ONLY public.news ALTER COLUMN id SET DEFAULT nextval('public.news_id_seq'::regclass);
ALTER TABLE ONLY public.program ALTER COLUMN version SET DEFAULT nextval('public.program_version_seq'::regclass);
ALTER TABLE ONLY public.push ALTER COLUMN id SET DEFAULT nextval('public.push_id_seq'::regclass);
INSERT INTO public.alias VALUES ('ana', 1);
INSERT INTO public.alias VALUES ('ana-nfc', 1);
INSERT INTO public.alias VALUES ('pass-ana', 1);
INSERT INTO public.alias VALUES ('ben', 2);
INSERT INTO public.alias VALUES ('ben-nfc', 2);
INSERT INTO public.alias VALUES ('pass-ben', 2);
INSERT INTO public.alias VALUES ('never-seen', 3);
INSERT INTO public.customer VALUES (2, 'pass-ben', 'ben', NULL, 0, 0, NULL);
INSERT INTO public.customer VALUES (3, NULL, NULL, 'never-seen', 3, 0, NULL);
INSERT INTO public.customer VALUES (1, 'pass-ana', 'ana', NULL, 24, 0, NULL);
INSERT INTO public.entry VALUES (1, '', 'pass/1', 'opening', 0, 1, 4, 0, '2026-11-21T10:00:00.000Z', 'Balance at the service when first seen.', NULL);
INSERT INTO public.entry VALUES (2, 'till-1', '1', 'earn', 0, 1, 1, 0, '2026-11-21T10:00:00.000Z', '10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.', NULL);
INSERT INTO public.entry VALUES (3, '', 'pass/2', 'opening', 0, 2, 12, 0, '2026-11-21T10:00:00.000Z', 'Balance at the service when first seen.', NULL);
INSERT INTO public.entry VALUES (4, 'till-1', '2', 'redeem', 0, 2, -12, 0, '2026-11-21T10:00:00.000Z', '£5 off on 2', NULL);
INSERT INTO public.entry VALUES (5, 'till-1', '1', 'refund', 0, 1, -1, 0, '2026-11-21T10:00:00.000Z', '8.00 of 10.00 left after a refund on 1.', NULL);
INSERT INTO public.entry VALUES (6, 'till-1', 'a1', 'adjust', 0, 1, 3, 0, '2026-11-21T10:00:00.000Z', 'a gift (by user 0)', NULL);
INSERT INTO public.entry VALUES (7, '', 'pass/1', 'foreign', 0, 1, 15, 0, '2026-11-21T10:00:00.000Z', 'Changed at the service by others.', NULL);
INSERT INTO public.entry VALUES (8, 'till-1', '3', 'earn', 0, 3, 3, 0, '2026-11-21T10:00:00.000Z', '30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.', NULL);
INSERT INTO public.entry VALUES (9, 'till-1', '4', 'earn', 0, 1, 2, 0, '2026-11-21T10:00:00.000Z', '20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.', NULL);
INSERT INTO public.event VALUES ('till-1', 1, 'tap', '{"seq":1,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"23f8bb062d636527","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":false}],"sale_id":null,"stale":false}');
INSERT INTO public.event VALUES ('till-1', 2, 'sale', '{"seq":2,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"open","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"reserved":0,"earned":1,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":null,"why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 3, 'sale', '{"seq":3,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"closed","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":"10.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":5,"reserved":0,"earned":1,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":"1 point earned. Balance: 5","why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 4, 'pass', '{"seq":4,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":5,"notification":"delivered"}');
INSERT INTO public.event VALUES ('till-1', 5, 'sale', '{"seq":5,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"open","total":"8.00","eligible":"8.00","discount":"0.00","due":"8.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":12,"reserved":0,"earned":0,"balance_after":12,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}],"message":null,"receipt":null,"why":"8.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 6, 'sale', '{"seq":6,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"open","total":"8.00","eligible":"8.00","discount":"5.00","due":"3.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":12,"reserved":12,"earned":0,"balance_after":0,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}],"message":"You''ve used your £5 off discount!","receipt":null,"why":"£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 7, 'sale', '{"seq":7,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"closed","total":"8.00","eligible":"8.00","discount":"5.00","due":"3.00","paid":"3.00","currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"reserved":0,"earned":0,"balance_after":0,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}],"message":"You''ve used your £5 off discount!","receipt":"0 points earned. Balance: 0","why":"£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 8, 'sale', '{"seq":8,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"part-refunded","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":"10.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"reserved":0,"earned":0,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":"1 point earned. Balance: 5","why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 9, 'tap', '{"seq":9,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"d73fc998c7ad6037","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":7,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":true}],"sale_id":null,"stale":false}');
INSERT INTO public.event VALUES ('till-1', 10, 'tap', '{"seq":10,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"d73fc998c7ad6037","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":22,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":true}],"sale_id":null,"stale":false}');
INSERT INTO public.event VALUES ('till-1', 11, 'pass', '{"seq":11,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":22,"notification":"none"}');
INSERT INTO public.event VALUES ('till-1', 12, 'pass', '{"seq":12,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"notification":"delivered"}');
INSERT INTO public.event VALUES ('till-1', 13, 'sale', '{"seq":13,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"3","state":"closed","total":"30.00","eligible":"30.00","discount":"0.00","due":"30.00","paid":"30.00","currency":"GBP","customer":{"pass_id":null,"ext_id":null},"balance":null,"reserved":0,"earned":3,"balance_after":null,"offers":[],"message":"Thank you for your order. You''ve earned 3 points!","receipt":"3 points earned. Balance: –","why":"30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.","offline":true}');
INSERT INTO public.event VALUES ('till-1', 14, 'sale', '{"seq":14,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"4","state":"closed","total":"20.00","eligible":"20.00","discount":"0.00","due":"20.00","paid":"20.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":24,"reserved":0,"earned":2,"balance_after":24,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}],"message":"Thank you for your order. You''ve earned 2 points!","receipt":"2 points earned. Balance: 24","why":"20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.","offline":false}');
INSERT INTO public.event VALUES ('till-1', 15, 'sale', '{"seq":15,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"5","state":"open","total":"7.50","eligible":"7.50","discount":"0.00","due":"7.50","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"reserved":0,"earned":0,"balance_after":0,"offers":[],"message":null,"receipt":null,"why":"7.50 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO public.meta VALUES ('id', '48646d417e3926e2');
INSERT INTO public.meta VALUES ('schema', '1');
INSERT INTO public.meta VALUES ('currency', 'GBP');
INSERT INTO public.meta VALUES ('service', 'https://api.passentry.com');
INSERT INTO public.mirror VALUES (3, NULL, NULL, 1, 0, 1000000, NULL, NULL, 0, 0, NULL, 0, NULL, 0);
INSERT INTO public.mirror VALUES (1, 22, NULL, 1, 0, 1000000, NULL, 1000120, 0, 0, NULL, 1, 'till-1', 0);
INSERT INTO public.mirror VALUES (2, 0, NULL, 0, 1, NULL, '', 1000120, 0, 0, NULL, 0, 'till-1', 0);
INSERT INTO public.mirror_send VALUES (1, 1, 5, 4, 1000000, 'applied');
INSERT INTO public.mirror_send VALUES (2, 1, 22, 20, 1000000, 'applied');
INSERT INTO public.mirror_send VALUES (3, 2, 0, 12, 1000000, 'applied');
INSERT INTO public.news VALUES (1, 'till-2', 'sale', '1', '');
INSERT INTO public.nfc_index VALUES ('ana-nfc', 'pass-ana');
INSERT INTO public.program VALUES (1, '{"currency": {"code": "GBP"}, "earn": {"carry": false, "minimum": 0, "points": 1, "spend": 1000, "visit": 0}, "face": {"empty": "", "field": "", "text": "{reward} your next order"}, "messages": {"earned": "Thank you for your order. You''ve earned {earned} {points}!", "prompt": "Would you like to get {reward} on this order?", "reached": "Congratulations! You''ve got {reward} on your next order!", "receipt": "{earned} {points} earned. Balance: {balance}", "redeemed": "You''ve used your {reward} discount!"}, "name": "PassEntry Coffee", "point": "point", "points": "points", "rewards": [{"automatic": false, "cost": 5, "discount": 500, "id": "five-off", "minimum": 0, "on_redeem": "reset", "title": "£5 off"}], "store": "soho", "training": false}', '2026-11-21T10:00:00.000Z');
INSERT INTO public.push VALUES (1, 1, 'till-1', '1', 'reached', 1, '£5 off', 1, 'sent', 1000000, 1000000);
INSERT INTO public.push VALUES (2, 2, 'till-1', '2', 'redeemed', 0, '£5 off', 1, 'sent', 1000000, 1000000);
INSERT INTO public.push VALUES (3, 3, 'till-1', '3', 'earned', 3, '', 1, 'planned', 1000000, NULL);
INSERT INTO public.push VALUES (4, 1, 'till-1', '4', 'earned', 2, '', 1, 'planned', 1000000, NULL);
INSERT INTO public.rate VALUES ('GET /loyalty/{id}', '[]');
INSERT INTO public.refund VALUES ('till-1', 'r1', 'till-1', '1', 200, 200, '2026-11-21T10:00:00.000Z', NULL);
INSERT INTO public.sale VALUES ('till-1', '2', 'closed', 800, NULL, 300, 0, 2, 'five-off', 12, 0, '[]', 1, 1, 1000000, 1000000, '2026-11-21T10:00:00.000Z', 500, 0, 0, 0, 0, 0, '[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}]', 'You''ve used your £5 off discount!', '0 points earned. Balance: 0', '£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.', NULL);
INSERT INTO public.sale VALUES ('till-1', '1', 'part-refunded', 1000, NULL, 1000, 200, 1, NULL, 0, 0, '[]', 1, 1, 1000000, 1000000, '2026-11-21T10:00:00.000Z', 0, 0, 0, 0, 0, 5, '[]', 'Congratulations! You''ve got £5 off on your next order!', '1 point earned. Balance: 5', '10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.', NULL);
INSERT INTO public.sale VALUES ('till-1', '3', 'closed', 3000, NULL, 3000, 0, 3, NULL, 0, 0, '[]', 1, 0, 1000000, 1000000, '2026-11-21T10:00:00.000Z', 0, 3, 0, 0, 1, NULL, '[]', 'Thank you for your order. You''ve earned 3 points!', '3 points earned. Balance: –', '30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.', NULL);
INSERT INTO public.sale VALUES ('till-1', '4', 'closed', 2000, NULL, 2000, 0, 1, NULL, 0, 0, '[]', 1, 0, 1000000, 1000000, '2026-11-21T10:00:00.000Z', 0, 2, 0, 0, 0, 24, '[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}]', 'Thank you for your order. You''ve earned 2 points!', '2 points earned. Balance: 24', '20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.', NULL);
INSERT INTO public.sale VALUES ('till-1', '5', 'open', 750, NULL, NULL, 0, 2, NULL, 0, 0, '[]', 1, 1, 1000000, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, '', NULL);
INSERT INTO public.tap VALUES ('23f8bb062d636527', 'till-1', 'counter', 'apple-vas', 'identified', 1, '1', NULL, 1, 1000000);
INSERT INTO public.tap VALUES ('d73fc998c7ad6037', 'till-1', 'counter', 'apple-vas', 'identified', 1, NULL, NULL, 1, 1000000);
INSERT INTO public.till VALUES ('till-2', 'abc', 'there', 0);
INSERT INTO public.till VALUES ('till-1', '698dc95136c3e5fc166116fa4abfdcd5', 'test', 0);
INSERT INTO public.wish VALUES (3, 'till-1', 1000000);
INSERT INTO public.wish VALUES (1, 'till-1', 1000000);
INSERT INTO public.wish VALUES (2, 'till-1', 1000000);
SELECT pg_catalog.setval('public.customer_id_seq', 3, true);
SELECT pg_catalog.setval('public.entry_id_seq', 9, true);
SELECT pg_catalog.setval('public.mirror_customer_id_seq', 1, false);
SELECT pg_catalog.setval('public.mirror_send_id_seq', 3, true);
SELECT pg_catalog.setval('public.news_id_seq', 1, true);
SELECT pg_catalog.setval('public.program_version_seq', 1, false);
SELECT pg_catalog.setval('public.push_id_seq', 4, true);
ALTER TABLE ONLY public.alias
    ADD CONSTRAINT alias_pkey PRIMARY KEY (value);
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pass_id_key UNIQUE (pass_id);
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.entry
    ADD CONSTRAINT entry_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.entry
    ADD CONSTRAINT entry_till_ref_kind_seq_key UNIQUE (till, ref, kind, seq);
ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (till, seq);
ALTER TABLE ONLY public.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.mirror
    ADD CONSTRAINT mirror_pkey PRIMARY KEY (customer_id);
ALTER TABLE ONLY public.mirror_send
    ADD CONSTRAINT mirror_send_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.news
    ADD CONSTRAINT news_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.nfc_index
    ADD CONSTRAINT nfc_index_pkey PRIMARY KEY (value);
ALTER TABLE ONLY public.program
    ADD CONSTRAINT program_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.push
    ADD CONSTRAINT push_customer_id_till_sale_id_key UNIQUE (customer_id, till, sale_id);
ALTER TABLE ONLY public.push
    ADD CONSTRAINT push_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rate
    ADD CONSTRAINT rate_pkey PRIMARY KEY (endpoint);
ALTER TABLE ONLY public.refund
    ADD CONSTRAINT refund_pkey PRIMARY KEY (till, refund_id);
ALTER TABLE ONLY public.reward_use
    ADD CONSTRAINT reward_use_pkey PRIMARY KEY (customer_id, reward);
ALTER TABLE ONLY public.sale
    ADD CONSTRAINT sale_pkey PRIMARY KEY (till, sale_id);
ALTER TABLE ONLY public.tap
    ADD CONSTRAINT tap_pkey PRIMARY KEY (tap_id);
ALTER TABLE ONLY public.till
    ADD CONSTRAINT till_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.wish
    ADD CONSTRAINT wish_pkey PRIMARY KEY (customer_id);
CREATE INDEX entry_other ON public.entry USING btree (at) WHERE (kind <> ALL (ARRAY['earn'::text, 'redeem'::text]));
CREATE INDEX ix_alias_customer_id ON public.alias USING btree (customer_id);
CREATE INDEX ix_customer_same_as ON public.customer USING btree (same_as);
CREATE INDEX ix_entry_customer_id ON public.entry USING btree (customer_id);
CREATE INDEX ix_mirror_send_customer_id ON public.mirror_send USING btree (customer_id);
CREATE INDEX ix_news_till ON public.news USING btree (till);
CREATE INDEX ix_tap_customer_id ON public.tap USING btree (customer_id);
CREATE INDEX ix_tap_steady ON public.tap USING btree (steady);
CREATE INDEX mirror_busy ON public.mirror USING btree (customer_id) WHERE ((dirty = 1) OR (look IS NOT NULL) OR (settle IS NOT NULL) OR (parked IS NOT NULL));
CREATE INDEX mirror_foreign ON public.mirror USING btree (customer_id) WHERE (foreign_seen > 0);
CREATE INDEX sale_closed ON public.sale USING btree (closed_at) WHERE (closed_at IS NOT NULL);
CREATE INDEX sale_customer ON public.sale USING btree (customer_id) WHERE ((state = 'open'::text) OR (offline = 1));
CREATE INDEX sale_open ON public.sale USING btree (state, till, turn) WHERE (state = 'open'::text);
CREATE TRIGGER entry_is_final BEFORE DELETE OR UPDATE OR TRUNCATE ON public.entry FOR EACH STATEMENT EXECUTE FUNCTION public.entry_is_final();
