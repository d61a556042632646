const text = { type: "string", minLength: 1 } as const;
const texts = { type: "object", additionalProperties: { type: "string" } } as const;

/** https://docs.github.com/rest/repos/repos: an owner, a slash and a name. */
export const githubRepository = "^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$";

/** The JSON schema of a file of triggers (docs/triggers.md). */
export const triggerSchema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    type: "object",
    additionalProperties: false,
    required: ["triggers"],
    properties: {
        credentials: { ...text, description: "a Docker configuration file; by default the user's own" },
        webhookSecretFile: { ...text, description: "a file with the secret of GitHub's webhook" },
        triggers: {
            type: "array",
            minItems: 1,
            items: {
                type: "object",
                additionalProperties: false,
                required: ["name", "image"],
                properties: {
                    name: { type: "string", pattern: "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" },
                    image: { ...text, description: "registry/repository, with a tag where the policy needs one" },
                    policy: { ...text, description: "force, all, major, minor, patch, glob:…, regexp:…" },
                    interval: { type: ["string", "integer"], description: "such as 30s, 5m or 1h; 0 is never" },
                    first: { enum: ["remember", "build"] },
                    as: { enum: ["image", "baseImage"] },
                    source: text,
                    ref: text,
                    pipeline: { ...text, description: "a file, relative to this one" },
                    command: { type: "array", minItems: 1, items: { type: "string" } },
                    config: { type: "object", description: "keys of Pulumi.yaml" },
                    labels: texts,
                    timeout: { type: ["string", "integer"] },
                    release: {
                        type: "object",
                        additionalProperties: false,
                        required: ["repository"],
                        properties: {
                            repository: { type: "string", pattern: githubRepository },
                            tag: text,
                            images: { type: "array", items: text },
                            step: text,
                        },
                    },
                },
            },
        },
    },
} as const;
