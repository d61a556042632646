"use strict";
// A command gets its standard input, directory, environment and interpreter.
const command = require("@pulumi/command");
const a = new command.local.Command("a", {
    create: "const fs = require('fs'); console.log(fs.readFileSync(0, 'utf8') + process.cwd().split('/').pop() + process.env.X)",
    interpreter: [process.execPath, "-e"],
    stdin: "in-",
    dir: "node_modules",
    environment: { X: "-x" },
});
exports.out = a.stdout;
