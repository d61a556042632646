import pulumi from "@pulumi/eslint-plugin";
import tseslint from "typescript-eslint";

export default tseslint.config(
    { ignores: ["dist/", "node_modules/", "**/*.js", "**/*.mjs"] },
    ...tseslint.configs.strictTypeChecked,
    {
        languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
        plugins: { "@pulumi": pulumi },
        rules: {
            "no-restricted-syntax": ["error", { selector: "ExportDefaultDeclaration", message: "Use a named export." }],
            "no-restricted-imports": [
                "error",
                { patterns: [{ group: ["**/cli/*"], message: "Nothing imports cli: it is the outermost room." }] },
            ],
            "@typescript-eslint/consistent-type-imports": "error",
            "@typescript-eslint/prefer-readonly": "error",
            // The Kubernetes client's classes are the API's types: nobody calls their constructors.
            "@typescript-eslint/no-unsafe-class-instance-assignment": "off",
            "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
            "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
        },
    },
    {
        files: ["tests/**/*.ts", "bench/**/*.ts"],
        rules: {
            "no-restricted-imports": "off",
            "@typescript-eslint/no-unused-expressions": "off",
            "@typescript-eslint/no-non-null-assertion": "off",
            // Declarations are read as the JSON that they are.
            "@typescript-eslint/no-explicit-any": "off",
            "@typescript-eslint/no-unsafe-assignment": "off",
            "@typescript-eslint/no-unsafe-argument": "off",
            "@typescript-eslint/no-unsafe-call": "off",
            "@typescript-eslint/no-unsafe-member-access": "off",
            "@typescript-eslint/no-unsafe-return": "off",
        },
    },
    {
        files: ["cli/**/*.ts"],
        rules: { "no-restricted-imports": "off" },
    },
);
