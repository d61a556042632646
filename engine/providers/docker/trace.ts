import { BinaryReader } from "google-protobuf";

/**
 * Lines for people from BuildKit's trace: the steps as they start, what they print, and why they fail
 * (`moby.buildkit.v1.StatusResponse`, api/services/control/control.proto).
 */
export class BuildTrace {
    private readonly named = new Set<string>();

    public lines(message: unknown): readonly string[] {
        if (typeof message !== "string") {
            return [];
        }
        const lines: string[] = [];
        eachField(Buffer.from(message, "base64"), (field, content) => {
            if (field === vertexField) {
                lines.push(...this.vertex(content));
            } else if (field === logField) {
                const text = fieldsOf(content).get(4)?.toString("utf8").trimEnd();
                lines.push(...(text ? text.split(/[\r\n]+/) : []));
            }
        });
        return lines;
    }

    private vertex(content: Buffer): readonly string[] {
        const fields = fieldsOf(content);
        const [digest, name, error] = [1, 3, 7].map((field) => fields.get(field)?.toString("utf8") ?? "");
        const lines: string[] = [];
        if (name && fields.has(startedField) && !this.named.has(digest ?? "") && !name.startsWith("[internal]")) {
            this.named.add(digest ?? "");
            lines.push(name);
        }
        return error ? [...lines, `error: ${error}`] : lines;
    }
}

const vertexField = 1;
const logField = 3;
const startedField = 5;
/** The wire type of messages, texts and bytes. */
const lengthDelimited = 2;

/** The fields of a message that are messages, texts or bytes; of repeated ones the last. */
function fieldsOf(message: Buffer): ReadonlyMap<number, Buffer> {
    const fields = new Map<number, Buffer>();
    eachField(message, (field, content) => fields.set(field, content));
    return fields;
}

function eachField(message: Buffer, visit: (field: number, content: Buffer) => void): void {
    const reader = new BinaryReader(new Uint8Array(message));
    while (reader.nextField() && !reader.isEndGroup()) {
        const wireType: unknown = reader.getWireType();
        if (wireType === lengthDelimited) {
            visit(reader.getFieldNumber(), Buffer.from(reader.readBytes()));
        } else {
            reader.skipField();
        }
    }
}
