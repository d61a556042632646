import * as pulumi from "@pulumi/pulumi";

import { isService } from "./config/service";

/* eslint-disable @typescript-eslint/no-require-imports */

/** What the stack declares: a service, where it is configured so, or builds. Only the one that is wanted is loaded. */
export = (isService(new pulumi.Config()) ? require("./serviceProgram") : require("./index")) as Readonly<
    Record<string, pulumi.Input<unknown>>
>;
