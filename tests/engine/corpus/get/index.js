"use strict";
// A resource that is only read is not changed, and forgotten when it goes.
const { resource, step } = require("./resources");
const command = require("@pulumi/command");
if (step === 1) {
    const other = command.local.Command.get("other", "someone-elses");
    exports.id = other.id;
}
resource("a");
