"use strict";
// Files that a command leaves are assets of it, and in an archive.
const command = require("@pulumi/command");
const a = new command.local.Command("a", {
    create: "mkdir -p made && echo one > made/one.txt && echo two > made/two.log",
    assetPaths: ["made/*", "!made/*.log"],
    archivePaths: ["made/**"],
});
exports.assets = a.assets.apply((assets) => Object.keys(assets));
