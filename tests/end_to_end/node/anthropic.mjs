// The official Anthropic SDK asks for one model of each case, and prints what it made of the
// answers as one JSON object. Usage: node anthropic.mjs BASE_URL PROVIDER_DIALECT, key in KEY.
import Anthropic from "@anthropic-ai/sdk";

const [, , base, provider] = process.argv;
const client = new Anthropic({ baseURL: base, apiKey: process.env.KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];
const model = (name) => `${provider}-${name}`;

const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
const input_schema = {
  type: "object",
  properties: { city: { type: "string" }, unit: { enum: ["celsius", "kelvin"] } },
  required: ["city"],
};
const tools = ["get_weather", "get_time"].map((name) => ({ name, description: name, input_schema }));

const asked = (name, more) => ({ model: model(name), messages, max_tokens: 9000, ...more });
const create = (name, more = {}) => client.messages.create(asked(name, more));
const streamed = (name, more = {}) => client.messages.stream(asked(name, more));
const calls = (message) =>
  message.content
    .filter((block) => block.type === "tool_use")
    .map((block) => [block.id, block.name, block.input]);
const text = (message) =>
  message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
const spent = (usage) => [usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens];

const cases = {
  async text() {
    const { data, response } = await create("text").withResponse();
    return {
      text: text(data),
      finish: data.stop_reason,
      usage: spent(data.usage),
      answered: response.headers.get("x-fairlead-model"),
      identified: data._request_id === response.headers.get("request-id"),
    };
  },

  async textStreamed() {
    const pieces = [];
    const stream = streamed("text").on("text", (piece) => pieces.push(piece));
    const message = await stream.finalMessage();
    return {
      text: pieces.join(""),
      whole: text(message),
      finish: message.stop_reason,
      output: message.usage.output_tokens,
    };
  },

  async length() {
    return (await create("length", { max_tokens: 10 })).stop_reason;
  },

  async tools() {
    const message = await create("tools", { tools });
    return { calls: calls(message), finish: message.stop_reason };
  },

  async toolsStreamed() {
    const message = await streamed("tools", { tools }).finalMessage();
    return { calls: calls(message), finish: message.stop_reason };
  },

  async toolResults() {
    const { content } = await create("tools", { tools });
    const results = content.map((block) => ({
      type: "tool_result",
      tool_use_id: block.id,
      content: `result of ${block.name}`,
    }));
    const turns = [
      ...messages,
      { role: "assistant", content },
      { role: "user", content: results },
    ];
    return text(await create("text", { tools, messages: turns }));
  },

  async jsonSchema() {
    const output_config = { format: { type: "json_schema", schema } };
    return JSON.parse(text(await create("json", { output_config })));
  },

  async thinking() {
    const thinking = { type: "enabled", budget_tokens: 2000 };
    const message = await streamed("thinking", { thinking }).finalMessage();
    const [thought] = message.content;
    return { thought: thought.thinking, signature: thought.signature, text: text(message) };
  },

  async models() {
    const names = [];
    for await (const each of client.models.list()) names.push(each.id);
    return names;
  },

  async leaves() {
    for await (const event of await create("text", { stream: true })) return event.type;
  },

  unknownModel: () =>
    told(client.messages.create({ model: "no-such-model", messages, max_tokens: 10 })),
  badRequest: () => told(create("text", { messages: "Hello" })),
  wrongKey: () => told(client.withOptions({ apiKey: "wrong" }).models.list()),
  brokenStream: () => told(streamed("broken").finalMessage()),
};

if (provider === "anthropic_messages")
  cases.countTokens = async () =>
    (await client.messages.countTokens({ model: model("text"), messages })).input_tokens;

async function told(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    const { status, type, message } = error;
    return { error: error.constructor.name, status, type, message };
  }
}

const results = {};
for (const [name, run] of Object.entries(cases)) results[name] = await run();
console.log(JSON.stringify(results));
