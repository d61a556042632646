import * as pulumi from "@pulumi/pulumi";

import { isService } from "./config/service";

/** What a stack is: a service, where `service` is configured, else builds. Only that one's program is loaded. */
export = load(isService(new pulumi.Config()) ? "./serviceProgram" : "./index");

function load(name: "./serviceProgram" | "./index"): unknown {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return require(name);
}
