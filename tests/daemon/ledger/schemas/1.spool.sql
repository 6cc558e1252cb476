BEGIN TRANSACTION;
CREATE TABLE event (
	till TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	method TEXT NOT NULL, 
	params TEXT NOT NULL, 
	PRIMARY KEY (till, seq)
)
 WITHOUT ROWID

;
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('holder','0123456789abcdef0123456789abcdef');
INSERT INTO "meta" VALUES('seq','17');
CREATE TABLE spooled (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	at TEXT NOT NULL, 
	body TEXT NOT NULL, 
	shape TEXT NOT NULL, 
	parked TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (kind, "key")
);
INSERT INTO "spooled" VALUES(1,'close','6','2026-11-21T10:00:00.000Z','{"sale_id": "6", "total": 1000, "value": "ana"}','{"sale_id": "6"}',NULL);
COMMIT;
