CREATE TABLE cel (
 id int(11) NOT NULL AUTO_INCREMENT, eventtype varchar(30) NOT NULL, eventtime datetime NOT NULL,
 cid_name varchar(80) NOT NULL, cid_num varchar(80) NOT NULL, cid_ani varchar(80) NOT NULL, cid_rdnis varchar(80) NOT NULL,
 cid_dnid varchar(80) NOT NULL, exten varchar(80) NOT NULL, context varchar(80) NOT NULL, channame varchar(80) NOT NULL,
 appname varchar(80) NOT NULL, appdata varchar(255) NOT NULL, amaflags int(11) NOT NULL, accountcode varchar(20) NOT NULL,
 uniqueid varchar(32) NOT NULL, linkedid varchar(32) NOT NULL, peer varchar(80) NOT NULL, userdeftype varchar(255) NOT NULL,
 extra varchar(512) NOT NULL,
 PRIMARY KEY (id), KEY uniqueid_index (uniqueid), KEY linkedid_index (linkedid), KEY context_index (context)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
