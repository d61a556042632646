export interface StoredChunk {
    readonly offset: number;
    readonly data: Buffer;
}

/**
 * Takes a piece of a job's log. An agent sends several at once, so that they may come in any order (agent/log_streamer.go);
 * and again when it heard no answer, but then the same bytes.
 *
 * @returns what is wrong with it
 */
export function takeChunk(
    chunks: Map<number, StoredChunk>,
    chunk: { readonly sequence: number; readonly offset: number; readonly size: number; readonly data: Buffer },
    largest: number,
): string | undefined {
    const { sequence, offset, size, data } = chunk;
    if (!Number.isSafeInteger(sequence) || sequence < 1 || !Number.isSafeInteger(offset) || offset < 0) {
        return `chunk ${sequence} at ${offset} is nowhere`;
    }
    if (size !== data.length || size === 0 || size > largest) {
        return `chunk ${sequence} says ${size} bytes, has ${data.length}, and may have 1 to ${largest}`;
    }
    const known = chunks.get(sequence);
    if (known && (known.offset !== offset || !known.data.equals(data))) {
        return `chunk ${sequence} was another before`;
    }
    const [before, after] = [chunks.get(sequence - 1), chunks.get(sequence + 1)];
    if ((before && before.offset + before.data.length !== offset) || (after && offset + size !== after.offset)) {
        return `chunk ${sequence} at ${offset} does not follow the one before it`;
    }
    chunks.set(sequence, { offset, data });
    return undefined;
}

/** The log that the chunks make. @throws where one is missing or does not fit. */
export function assembled(chunks: ReadonlyMap<number, StoredChunk>): Buffer {
    const pieces: Buffer[] = [];
    let size = 0;
    for (let sequence = 1; sequence <= chunks.size; sequence++) {
        const chunk = chunks.get(sequence);
        if (chunk?.offset !== size) {
            throw new Error(`chunk ${sequence} of ${chunks.size} is missing, or is not at ${size}`);
        }
        pieces.push(chunk.data);
        size += chunk.data.length;
    }
    return Buffer.concat(pieces);
}
