CREATE TABLE cel (
 id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, eventtype varchar(30), eventtime varchar(40), userdeftype varchar(255),
 cid_name varchar(80), cid_num varchar(80), exten varchar(80), context varchar(80), channame varchar(80), appname varchar(80), appdata text,
 uniqueid varchar(150), linkedid varchar(150), peer varchar(80), extra text
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
