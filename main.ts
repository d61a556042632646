import * as pulumi from "@pulumi/pulumi";

import { isService } from "./config/service";

/* eslint-disable @typescript-eslint/no-require-imports */

const config = new pulumi.Config();

/** What the stack declares: a service, or the image alone, where it is configured so, or builds. Only that is loaded. */
export = (isService(config)
    ? require("./serviceProgram")
    : config.get("imageOnly") === "true"
      ? require("./images")
      : require("./index")) as Readonly<Record<string, pulumi.Input<unknown>>>;
