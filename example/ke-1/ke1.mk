# The targets that build a repository in a cluster. Copy this file beside a Makefile that has a `build` target which
# leaves its binaries in bin/, and include it with one line:
#
#     include ke1.mk
#
#   make build-image     build the commit's image and push it, tagged with the commit
#   make build-wrapper   the image's entrypoint: `make build`, with log and artifacts carried out of the pod
#   make launch-build    image, Job, wait; prints where the artifacts are
#
# KE1 is the `ke1` command; BUILD_TAG a tag or commit to build instead of HEAD.

KE1 ?= ke1

.PHONY: build-image build-wrapper launch-build

build-image:
	SOURCE="$(CURDIR)" $(KE1) image

# KE1_WRAP is set in the pod of a build. Without it, in a container run by hand, this is `make build`.
build-wrapper:
	$(KE1_WRAP) $(MAKE) build

launch-build:
	SOURCE="$(CURDIR)" $(KE1) up
