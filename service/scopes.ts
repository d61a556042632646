/** `builds:read` looks; `builds:write` looks, launches builds and ends its own; `admin` may all of it, with every build. */
export const scopes = ["builds:read", "builds:write", "admin"] as const;

export type Scope = (typeof scopes)[number];
