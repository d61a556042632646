"use strict";
// An update finds the output of the run before in its environment, unless that is switched off.
const command = require("@pulumi/command");
const { step } = require("./resources");
new command.local.Command("on", {
    create: "echo first",
    update: `echo "on: $PULUMI_COMMAND_STDOUT" >> "$CASE_LOG" # ${step}`,
});
new command.local.Command("off", {
    create: "echo first",
    update: `echo "off: $PULUMI_COMMAND_STDOUT" >> "$CASE_LOG" # ${step}`,
    addPreviousOutputInEnv: false,
});
