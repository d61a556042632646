/** One line of what somebody else has written (a commit's author, a build), that does nothing to a terminal. */
export function plain(text: string): string {
    const visible = text.replace(/[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+/g, " ").trim();
    return visible.length > longest ? `${visible.slice(0, longest - 1)}…` : visible;
}

const longest = 200;
