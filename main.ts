import * as pulumi from "@pulumi/pulumi";

/* eslint-disable @typescript-eslint/no-require-imports */

/** What the stack declares: the image alone, where it is configured so, or builds. Only the one that is wanted is loaded. */
export = (new pulumi.Config().get("imageOnly") === "true" ? require("./images") : require("./index")) as Readonly<
    Record<string, pulumi.Input<unknown>>
>;
