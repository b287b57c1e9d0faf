module github.com/ctbox/ctbox/tests/interop

go 1.26.0

require (
	github.com/distribution/reference v0.6.0
	github.com/google/go-containerregistry v0.22.1
	github.com/hanwen/go-fuse/v2 v2.12.1 // faultfs: what no file system does unless it is broken
	github.com/opencontainers/image-spec v1.1.1
	golang.org/x/sys v0.47.0 // faultfs: error numbers
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/klauspost/compress v1.19.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/santhosh-tekuri/jsonschema/v5 v5.3.1 // indirect
	golang.org/x/sync v0.22.0 // indirect
)
