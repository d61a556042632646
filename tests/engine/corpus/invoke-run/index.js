"use strict";
// `command:local:run` runs at each operation, in previews too.
const { resource } = require("./resources");
const command = require("@pulumi/command");
const ran = command.local.runOutput({ command: 'echo "run" >> "$CASE_LOG"; echo hello' });
resource("a", { value: ran.stdout });
exports.out = ran.stdout;
