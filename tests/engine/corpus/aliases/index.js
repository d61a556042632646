"use strict";
// A renamed resource keeps its state by an alias.
const { resource, step } = require("./resources");
if (step === 1) {
    resource("old", { value: "v" });
} else {
    resource(
        "new",
        {
            value: "v",
            create: 'echo "create old" >> "$CASE_LOG"; echo v',
            update: 'echo "update old" >> "$CASE_LOG"; echo v',
            delete: 'echo "delete old" >> "$CASE_LOG"',
        },
        { aliases: [{ name: "old" }] },
    );
}
