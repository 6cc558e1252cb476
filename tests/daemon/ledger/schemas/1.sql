BEGIN TRANSACTION;
CREATE TABLE alias (
	value TEXT NOT NULL, 
	customer_id INTEGER NOT NULL, 
	PRIMARY KEY (value)
)
 WITHOUT ROWID

;
INSERT INTO "alias" VALUES('ana',1);
INSERT INTO "alias" VALUES('ana-nfc',1);
INSERT INTO "alias" VALUES('pass-ana',1);
INSERT INTO "alias" VALUES('ben',2);
INSERT INTO "alias" VALUES('ben-nfc',2);
INSERT INTO "alias" VALUES('pass-ben',2);
INSERT INTO "alias" VALUES('never-seen',3);
CREATE TABLE customer (
	id INTEGER NOT NULL, 
	pass_id TEXT, 
	ext_id TEXT, 
	value TEXT, 
	points INTEGER DEFAULT 0 NOT NULL, 
	carried INTEGER DEFAULT 0 NOT NULL, 
	same_as INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (pass_id)
);
INSERT INTO "customer" VALUES(1,'pass-ana','ana',NULL,24,0,NULL);
INSERT INTO "customer" VALUES(2,'pass-ben','ben',NULL,0,0,NULL);
INSERT INTO "customer" VALUES(3,NULL,NULL,'never-seen',3,0,NULL);
CREATE TABLE entry (
	id INTEGER NOT NULL, 
	till TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	seq INTEGER DEFAULT 0 NOT NULL, 
	customer_id INTEGER NOT NULL, 
	points INTEGER NOT NULL, 
	carried INTEGER DEFAULT 0 NOT NULL, 
	at TEXT NOT NULL, 
	why TEXT NOT NULL, 
	uid INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (till, ref, kind, seq)
);
INSERT INTO "entry" VALUES(1,'','pass/1','opening',0,1,4,0,'2026-11-21T10:00:00.000Z','Balance at the service when first seen.',NULL);
INSERT INTO "entry" VALUES(2,'till-1','1','earn',0,1,1,0,'2026-11-21T10:00:00.000Z','10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.',NULL);
INSERT INTO "entry" VALUES(3,'','pass/2','opening',0,2,12,0,'2026-11-21T10:00:00.000Z','Balance at the service when first seen.',NULL);
INSERT INTO "entry" VALUES(4,'till-1','2','redeem',0,2,-12,0,'2026-11-21T10:00:00.000Z','£5 off on 2',NULL);
INSERT INTO "entry" VALUES(5,'till-1','1','refund',0,1,-1,0,'2026-11-21T10:00:00.000Z','8.00 of 10.00 left after a refund on 1.',NULL);
INSERT INTO "entry" VALUES(6,'till-1','a1','adjust',0,1,3,0,'2026-11-21T10:00:00.000Z','a gift (by user 0)',NULL);
INSERT INTO "entry" VALUES(7,'','pass/1','foreign',0,1,15,0,'2026-11-21T10:00:00.000Z','Changed at the service by others.',NULL);
INSERT INTO "entry" VALUES(8,'till-1','3','earn',0,3,3,0,'2026-11-21T10:00:00.000Z','30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.',NULL);
INSERT INTO "entry" VALUES(9,'till-1','4','earn',0,1,2,0,'2026-11-21T10:00:00.000Z','20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.',NULL);
CREATE TABLE event (
	till TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	method TEXT NOT NULL, 
	params TEXT NOT NULL, 
	PRIMARY KEY (till, seq)
)
 WITHOUT ROWID

;
INSERT INTO "event" VALUES('till-1',1,'tap','{"seq":1,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"8b07df422dd2887e","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":false}],"sale_id":null,"stale":false}');
INSERT INTO "event" VALUES('till-1',2,'sale','{"seq":2,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"open","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"reserved":0,"earned":1,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":null,"why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',3,'sale','{"seq":3,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"closed","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":"10.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":5,"reserved":0,"earned":1,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":"1 point earned. Balance: 5","why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',4,'pass','{"seq":4,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":5,"notification":"delivered"}');
INSERT INTO "event" VALUES('till-1',5,'sale','{"seq":5,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"open","total":"8.00","eligible":"8.00","discount":"0.00","due":"8.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":12,"reserved":0,"earned":0,"balance_after":12,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}],"message":null,"receipt":null,"why":"8.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',6,'sale','{"seq":6,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"open","total":"8.00","eligible":"8.00","discount":"5.00","due":"3.00","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":12,"reserved":12,"earned":0,"balance_after":0,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}],"message":"You''ve used your £5 off discount!","receipt":null,"why":"£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',7,'sale','{"seq":7,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"2","state":"closed","total":"8.00","eligible":"8.00","discount":"5.00","due":"3.00","paid":"3.00","currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"reserved":0,"earned":0,"balance_after":0,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}],"message":"You''ve used your £5 off discount!","receipt":"0 points earned. Balance: 0","why":"£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',8,'sale','{"seq":8,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"1","state":"part-refunded","total":"10.00","eligible":"10.00","discount":"0.00","due":"10.00","paid":"10.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":4,"reserved":0,"earned":0,"balance_after":5,"offers":[],"message":"Congratulations! You''ve got £5 off on your next order!","receipt":"1 point earned. Balance: 5","why":"10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',9,'tap','{"seq":9,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"ef3fa5373efd7bc3","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":7,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":true}],"sale_id":null,"stale":false}');
INSERT INTO "event" VALUES('till-1',10,'tap','{"seq":10,"at":"2026-11-21T10:00:00.000Z","till":"till-1","tap_id":"ef3fa5373efd7bc3","reader":"counter","source":"apple-vas","status":"identified","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":22,"rewards":[{"reward":"five-off","title":"£5 off","discount":"5.00","available":true}],"sale_id":null,"stale":false}');
INSERT INTO "event" VALUES('till-1',11,'pass','{"seq":11,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":22,"notification":"none"}');
INSERT INTO "event" VALUES('till-1',12,'pass','{"seq":12,"at":"2026-11-21T10:00:00.000Z","till":"till-1","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"notification":"delivered"}');
INSERT INTO "event" VALUES('till-1',13,'sale','{"seq":13,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"3","state":"closed","total":"30.00","eligible":"30.00","discount":"0.00","due":"30.00","paid":"30.00","currency":"GBP","customer":{"pass_id":null,"ext_id":null},"balance":null,"reserved":0,"earned":3,"balance_after":null,"offers":[],"message":"Thank you for your order. You''ve earned 3 points!","receipt":"3 points earned. Balance: –","why":"30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.","offline":true}');
INSERT INTO "event" VALUES('till-1',14,'sale','{"seq":14,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"4","state":"closed","total":"20.00","eligible":"20.00","discount":"0.00","due":"20.00","paid":"20.00","currency":"GBP","customer":{"pass_id":"pass-ana","ext_id":"ana"},"balance":24,"reserved":0,"earned":2,"balance_after":24,"offers":[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}],"message":"Thank you for your order. You''ve earned 2 points!","receipt":"2 points earned. Balance: 24","why":"20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.","offline":false}');
INSERT INTO "event" VALUES('till-1',15,'sale','{"seq":15,"at":"2026-11-21T10:00:00.000Z","till":"till-1","sale_id":"5","state":"open","total":"7.50","eligible":"7.50","discount":"0.00","due":"7.50","paid":null,"currency":"GBP","customer":{"pass_id":"pass-ben","ext_id":"ben"},"balance":0,"reserved":0,"earned":0,"balance_after":0,"offers":[],"message":null,"receipt":null,"why":"7.50 paid: no full 10.00, so 0 points earned.","offline":false}');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('id','28ecb466122e90b8');
INSERT INTO "meta" VALUES('schema','1');
INSERT INTO "meta" VALUES('currency','GBP');
INSERT INTO "meta" VALUES('service','https://api.passentry.com');
INSERT INTO "meta" VALUES('till','till-1');
CREATE TABLE mirror (
	customer_id INTEGER NOT NULL, 
	confirmed INTEGER, 
	face TEXT, 
	dirty INTEGER DEFAULT 0 NOT NULL, 
	said INTEGER DEFAULT 0 NOT NULL, 
	since FLOAT, 
	look TEXT, 
	settle FLOAT, 
	retry FLOAT DEFAULT '0' NOT NULL, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	parked TEXT, 
	foreign_seen INTEGER DEFAULT 0 NOT NULL, 
	lease_owner TEXT, 
	lease_until FLOAT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (customer_id)
);
INSERT INTO "mirror" VALUES(1,22,NULL,1,0,1000000.0,NULL,1000120.0,0.0,0,NULL,1,'till-1',0.0);
INSERT INTO "mirror" VALUES(2,0,NULL,0,1,NULL,'',1000120.0,0.0,0,NULL,0,'till-1',0.0);
INSERT INTO "mirror" VALUES(3,NULL,NULL,1,0,1000000.0,NULL,NULL,0.0,0,NULL,0,NULL,0.0);
CREATE TABLE mirror_send (
	id INTEGER NOT NULL, 
	customer_id INTEGER NOT NULL, 
	points INTEGER NOT NULL, 
	base INTEGER NOT NULL, 
	sent FLOAT NOT NULL, 
	outcome TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "mirror_send" VALUES(1,1,5,4,1000000.0,'applied');
INSERT INTO "mirror_send" VALUES(2,1,22,20,1000000.0,'applied');
INSERT INTO "mirror_send" VALUES(3,2,0,12,1000000.0,'applied');
CREATE TABLE news (
	id INTEGER NOT NULL, 
	till TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	status TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "news" VALUES(1,'till-2','sale','1','');
CREATE TABLE nfc_index (
	value TEXT NOT NULL, 
	pass_id TEXT NOT NULL, 
	PRIMARY KEY (value)
)
 WITHOUT ROWID

;
INSERT INTO "nfc_index" VALUES('ana-nfc','pass-ana');
CREATE TABLE program (
	version INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "program" VALUES(1,'{"currency": {"code": "GBP"}, "earn": {"carry": false, "minimum": 0, "points": 1, "spend": 1000, "visit": 0}, "face": {"empty": "", "field": "", "text": "{reward} your next order"}, "messages": {"earned": "Thank you for your order. You''ve earned {earned} {points}!", "prompt": "Would you like to get {reward} on this order?", "reached": "Congratulations! You''ve got {reward} on your next order!", "receipt": "{earned} {points} earned. Balance: {balance}", "redeemed": "You''ve used your {reward} discount!"}, "name": "PassEntry Coffee", "point": "point", "points": "points", "rewards": [{"automatic": false, "cost": 5, "discount": 500, "id": "five-off", "minimum": 0, "on_redeem": "reset", "title": "£5 off"}], "store": "soho", "training": false}','2026-11-21T10:00:00.000Z');
CREATE TABLE push (
	id INTEGER NOT NULL, 
	customer_id INTEGER NOT NULL, 
	till TEXT NOT NULL, 
	sale_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	earned INTEGER NOT NULL, 
	reward TEXT NOT NULL, 
	program INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	planned FLOAT NOT NULL, 
	sent FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (customer_id, till, sale_id)
);
INSERT INTO "push" VALUES(1,1,'till-1','1','reached',1,'£5 off',1,'sent',1000000.0,1000000.0);
INSERT INTO "push" VALUES(2,2,'till-1','2','redeemed',0,'£5 off',1,'sent',1000000.0,1000000.0);
INSERT INTO "push" VALUES(3,3,'till-1','3','earned',3,'',1,'planned',1000000.0,NULL);
INSERT INTO "push" VALUES(4,1,'till-1','4','earned',2,'',1,'planned',1000000.0,NULL);
CREATE TABLE rate (
	endpoint TEXT NOT NULL, 
	used TEXT NOT NULL, 
	PRIMARY KEY (endpoint)
)
 WITHOUT ROWID

;
INSERT INTO "rate" VALUES('GET /loyalty/{id}','[]');
CREATE TABLE refund (
	till TEXT NOT NULL, 
	refund_id TEXT NOT NULL, 
	sale_till TEXT NOT NULL, 
	sale_id TEXT NOT NULL, 
	amount INTEGER NOT NULL, 
	asked INTEGER, 
	at TEXT NOT NULL, 
	uid INTEGER, 
	PRIMARY KEY (till, refund_id)
)
 WITHOUT ROWID

;
INSERT INTO "refund" VALUES('till-1','r1','till-1','1',200,200,'2026-11-21T10:00:00.000Z',NULL);
CREATE TABLE reward_use (
	customer_id INTEGER NOT NULL, 
	reward TEXT NOT NULL, 
	uses INTEGER NOT NULL, 
	PRIMARY KEY (customer_id, reward)
)
 WITHOUT ROWID

;
CREATE TABLE sale (
	till TEXT NOT NULL, 
	sale_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	total INTEGER NOT NULL, 
	eligible INTEGER, 
	paid INTEGER, 
	refunded INTEGER DEFAULT 0 NOT NULL, 
	customer_id INTEGER, 
	reward TEXT, 
	taken INTEGER DEFAULT 0 NOT NULL, 
	lapsed INTEGER DEFAULT 0 NOT NULL, 
	declined TEXT DEFAULT '[]' NOT NULL, 
	program INTEGER NOT NULL, 
	turn INTEGER NOT NULL, 
	touched FLOAT NOT NULL, 
	closed FLOAT, 
	closed_at TEXT, 
	discount INTEGER DEFAULT 0 NOT NULL, 
	earned INTEGER DEFAULT 0 NOT NULL, 
	carried INTEGER DEFAULT 0 NOT NULL, 
	returned INTEGER DEFAULT 0 NOT NULL, 
	offline INTEGER DEFAULT 0 NOT NULL, 
	balance_after INTEGER, 
	offers TEXT, 
	message TEXT, 
	receipt TEXT, 
	why TEXT DEFAULT '' NOT NULL, 
	uid INTEGER, 
	PRIMARY KEY (till, sale_id)
)
 WITHOUT ROWID

;
INSERT INTO "sale" VALUES('till-1','1','part-refunded',1000,NULL,1000,200,1,NULL,0,0,'[]',1,1,1000000.0,1000000.0,'2026-11-21T10:00:00.000Z',0,0,0,0,0,5,'[]','Congratulations! You''ve got £5 off on your next order!','1 point earned. Balance: 5','10.00 paid: 1 × 10.00 at 1 point each, so 1 point earned.',NULL);
INSERT INTO "sale" VALUES('till-1','2','closed',800,NULL,300,0,2,'five-off',12,0,'[]',1,1,1000000.0,1000000.0,'2026-11-21T10:00:00.000Z',500,0,0,0,0,0,'[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"accepted","prompt":"Would you like to get £5 off on this order?"}]','You''ve used your £5 off discount!','0 points earned. Balance: 0','£5 off given (5.00 off, 12 points spent); 3.00 paid: no full 10.00, so 0 points earned.',NULL);
INSERT INTO "sale" VALUES('till-1','3','closed',3000,NULL,3000,0,3,NULL,0,0,'[]',1,0,1000000.0,1000000.0,'2026-11-21T10:00:00.000Z',0,3,0,0,1,NULL,'[]','Thank you for your order. You''ve earned 3 points!','3 points earned. Balance: –','30.00 paid: 3 × 10.00 at 1 point each, so 3 points earned.',NULL);
INSERT INTO "sale" VALUES('till-1','4','closed',2000,NULL,2000,0,1,NULL,0,0,'[]',1,0,1000000.0,1000000.0,'2026-11-21T10:00:00.000Z',0,2,0,0,0,24,'[{"reward":"five-off","title":"£5 off","discount":"5.00","state":"offered","prompt":"Would you like to get £5 off on this order?"}]','Thank you for your order. You''ve earned 2 points!','2 points earned. Balance: 24','20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.',NULL);
INSERT INTO "sale" VALUES('till-1','5','open',750,NULL,NULL,0,2,NULL,0,0,'[]',1,1,1000000.0,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,'',NULL);
CREATE TABLE tap (
	tap_id TEXT NOT NULL, 
	till TEXT NOT NULL, 
	reader TEXT NOT NULL, 
	source TEXT NOT NULL, 
	status TEXT NOT NULL, 
	customer_id INTEGER, 
	sale_id TEXT, 
	reason TEXT, 
	used INTEGER NOT NULL, 
	steady FLOAT NOT NULL, 
	PRIMARY KEY (tap_id)
)
 WITHOUT ROWID

;
INSERT INTO "tap" VALUES('8b07df422dd2887e','till-1','counter','apple-vas','identified',1,'1',NULL,1,1000000.0);
INSERT INTO "tap" VALUES('ef3fa5373efd7bc3','till-1','counter','apple-vas','identified',1,NULL,NULL,1,1000000.0);
CREATE TABLE till (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	host TEXT NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID

;
INSERT INTO "till" VALUES('till-2','abc','there',0.0);
CREATE TABLE wish (
	customer_id INTEGER NOT NULL, 
	till TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (customer_id)
);
CREATE INDEX ix_customer_same_as ON customer (same_as);
CREATE INDEX ix_alias_customer_id ON alias (customer_id);
CREATE INDEX entry_other ON entry (at) WHERE kind NOT IN ('earn', 'redeem');
CREATE INDEX ix_entry_customer_id ON entry (customer_id);
CREATE INDEX sale_customer ON sale (customer_id) WHERE state = 'open' OR offline = 1;
CREATE INDEX sale_open ON sale (state, till, turn) WHERE state = 'open';
CREATE INDEX ix_tap_steady ON tap (steady);
CREATE INDEX ix_tap_customer_id ON tap (customer_id);
CREATE INDEX mirror_foreign ON mirror (customer_id) WHERE foreign_seen > 0;
CREATE INDEX mirror_busy ON mirror (customer_id) WHERE dirty = 1 OR look IS NOT NULL OR settle IS NOT NULL OR parked IS NOT NULL;
CREATE INDEX ix_mirror_send_customer_id ON mirror_send (customer_id);
CREATE INDEX ix_news_till ON news (till);
CREATE TRIGGER entry_no_UPDATE BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER entry_no_DELETE BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
COMMIT;
