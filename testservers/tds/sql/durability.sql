SELECT d.delayed_durability FROM sys.databases AS d WHERE d.database_id = DB_ID();
