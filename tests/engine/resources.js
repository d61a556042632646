"use strict";
// What the programs of the corpus are made of: commands that log what is done with them to the file CASE_LOG.
const pulumi = require("@pulumi/pulumi");
const command = require("@pulumi/command");

const config = new pulumi.Config();

/** Which version of the program this is: the corpus raises it between operations. */
exports.step = config.getNumber("step") ?? 1;

/**
 * A resource that logs "create <name>", "update <name>" and "delete <name>"; its output `stdout` is `value`.
 * A change of `value` is an update, one of `key` a replacement.
 */
exports.resource = function resource(name, { value = name, key, ...more } = {}, options) {
    const log = (what) => `echo "${what} ${name}" >> "$CASE_LOG"`;
    return new command.local.Command(
        name,
        {
            create: pulumi.interpolate`${log("create")}; echo ${value}`,
            update: pulumi.interpolate`${log("update")}; echo ${value}`,
            delete: log("delete"),
            addPreviousOutputInEnv: false,
            logging: command.local.Logging.None,
            ...(key === undefined ? {} : { triggers: [key] }),
            ...more,
        },
        options,
    );
};

exports.Component = class Component extends pulumi.ComponentResource {
    constructor(name, make, options) {
        super("test:index:Component", name, {}, options);
        this.made = make(this);
        this.registerOutputs({ name });
    }
};
