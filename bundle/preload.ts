/* What every run of the program loads: all that index.ts imports, but not what it does. */

import "@pulumi/command";
import "@pulumi/docker";
import "@pulumi/kubernetes";

import "../components/admission";
import "../components/artifactStore";
import "../components/buildIdentity";
import "../components/buildJob";
import "../components/buildNamespace";
import "../components/images";
import "../components/repoMirror";
import "../components/testDependencies";
import "../config/mirror";
import "../source/plan";
