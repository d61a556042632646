import { Ajv, type ErrorObject } from "ajv";

import type { Place, PositionedDocument, Problem } from "./document";
import schema from "./pipeline.schema.json";

/**
 * Checks a document by the JSON schema that editors complete by: what an editor takes and what `ke1` takes are the same.
 */
export function checkStructure(
    document: PositionedDocument,
    values: unknown,
    definition: object = schema,
    whole = "a pipeline",
): readonly Problem[] {
    const validate = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true }).compile(definition);
    if (validate(values)) {
        return [];
    }
    // That of a key is told by `propertyNames`, and that of an `anyOf` by itself.
    const errors = (validate.errors ?? []).filter((error) => error.propertyName === undefined);
    return errors.map((error) => problemOf(document, values, error, whole));
}

function problemOf(document: PositionedDocument, values: unknown, error: ErrorObject, whole: string): Problem {
    const nameOf = (at: Place) => (at.length === 0 ? whole : nameIn(at));
    const place = placeOf(error.instancePath);
    const parent = error.parentSchema as { readonly properties?: object; readonly description?: string } | undefined;
    const parameters = error.params as Readonly<Record<string, unknown>>;
    switch (error.keyword) {
        case "additionalProperties": {
            const key = String(parameters["additionalProperty"]);
            const known = Object.keys(parent?.properties ?? {}).join(", ");
            return document.problem(place, `${nameOf(place)} has no key \`${key}\`; it may have: ${known}`, key);
        }
        case "required":
            return document.problem(place, `${nameOf(place)} needs \`${String(parameters["missingProperty"])}\``);
        case "propertyNames": {
            const key = String(parameters["propertyName"]);
            return document.problem(place, `\`${key}\` cannot be the name of a variable: A-Z, a-z, 0-9 and _`, key);
        }
        case "type":
            return document.problem(place, `${nameOf(place)} must be ${typesOf(parameters["type"])}`);
        case "enum":
            return document.problem(
                place,
                `${nameOf(place)} must be ${(parameters["allowedValues"] as readonly string[]).join(", ")}; ` +
                    `it is \`${String(valueAt(values, place))}\``,
            );
        case "pattern":
            return document.problem(
                place,
                `${nameOf(place)} cannot be \`${String(valueAt(values, place))}\`: ${parent?.description ?? ""}`,
            );
        case "minItems":
        case "minLength":
            return document.problem(place, `${nameOf(place)} is empty; leave it out, or fill it`);
        default:
            return document.problem(place, `${nameOf(place)} ${error.message ?? "cannot be so"}`);
    }
}

/** What a person calls what is at a place. */
function nameIn(place: Place): string {
    const last = place.at(-1);
    if (typeof last === "string") {
        return `\`${last}\``;
    }
    const collection = place.at(-2);
    return collection === "stages"
        ? "a stage"
        : collection === "steps"
          ? "a step"
          : collection === "triggers"
            ? "a trigger"
            : `each of \`${String(collection)}\``;
}

const typeNames: Readonly<Record<string, string>> = {
    string: "a text",
    array: "a list",
    object: "a mapping of keys to values",
    boolean: "true or false",
    number: "a number",
    integer: "a whole number",
};

function typesOf(type: unknown): string {
    const types = Array.isArray(type) ? (type as readonly string[]) : String(type).split(",");
    return types.map((name) => typeNames[name] ?? name).join(" or ");
}

/** From a JSON pointer (RFC 6901). */
function placeOf(pointer: string): Place {
    const parts = pointer.split("/").slice(1);
    return parts
        .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
        .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

function valueAt(values: unknown, place: Place): unknown {
    return place.reduce<unknown>(
        (value, key) => (value as Record<string | number, unknown> | undefined)?.[key],
        values,
    );
}
