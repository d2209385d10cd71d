module sbxconsumer

go 1.19
