module github.com/kerbodyne/ke-1-build/example/sidecars/junit

go 1.26
