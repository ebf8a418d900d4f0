// The real JavaScript SDKs against the gateway: openai, @anthropic-ai/sdk, and Vercel's ai with both, each also with a tool. Prints one
// JSON object: what was sent and what came back, for a test to compare with what was recorded. WATCHKEEPER_GATEWAY is the gateway's address.
import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';

const gateway = process.env.WATCHKEEPER_GATEWAY.replace(/\/$/, '');
const headers = (session) => ({ 'x-watchkeeper-session': session, 'x-watchkeeper-user': 'user-7' });
// Not keys: the stand-in takes anything.
const openai = (session) =>
  new OpenAI({ baseURL: `${gateway}/v1`, apiKey: 'not-a-key-openai', maxRetries: 0, defaultHeaders: headers(session) });
const anthropic = (session) =>
  new Anthropic({ baseURL: gateway, apiKey: 'not-a-key-anthropic', maxRetries: 0, defaultHeaders: headers(session) });
const ask = (prompt) => [{ role: 'user', content: prompt }];
const said = [];
const tools = [];
const question = 'What is the weather in Paris?';
const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const result = JSON.stringify({ celsius: 21 });

{
  const [session, prompt] = ['js-openai', 'Hello from JavaScript 👋'];
  const answer = await openai(session).chat.completions.create({ model: 'stand-in-gpt', messages: ask(prompt) });
  const usage = { input: answer.usage.prompt_tokens, output: answer.usage.completion_tokens };
  said.push({ session, prompt, text: answer.choices[0].message.content, usage });
}
{
  const [session, prompt] = ['js-openai-stream', 'Stream from JavaScript'];
  const stream = await openai(session).responses.create({ model: 'stand-in-gpt', input: prompt, stream: true });
  let [text, usage] = ['', null];
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.completed') {
      usage = { input: event.response.usage.input_tokens, output: event.response.usage.output_tokens };
    }
  }
  said.push({ session, prompt, text, usage });
}
{
  const [session, prompt] = ['js-anthropic', 'Hello, Claude'];
  const stream = anthropic(session).messages.stream({ model: 'stand-in-claude', max_tokens: 50, messages: ask(prompt) });
  const answer = await stream.finalMessage();
  said.push({ session, prompt, text: answer.content[0].text, usage: { input: answer.usage.input_tokens, output: answer.usage.output_tokens } });
}
{
  const [session, prompt] = ['js-ai-openai', 'Hello from the AI SDK'];
  const provider = createOpenAI({ baseURL: `${gateway}/v1`, apiKey: 'not-a-key-openai', headers: headers(session) });
  const answer = await generateText({ model: provider.chat('stand-in-gpt'), prompt, maxRetries: 0 });
  said.push({ session, prompt, text: answer.text, usage: { input: answer.usage.inputTokens, output: answer.usage.outputTokens } });
}
{
  const [session, prompt] = ['js-ai-anthropic', 'Stream from the AI SDK'];
  const provider = createAnthropic({ baseURL: `${gateway}/v1`, apiKey: 'not-a-key-anthropic', headers: headers(session) });
  const answer = streamText({ model: provider('stand-in-claude'), prompt, maxRetries: 0 });
  const text = await answer.text;
  const usage = await answer.usage;
  said.push({ session, prompt, text, usage: { input: usage.inputTokens, output: usage.outputTokens } });
}
{
  const session = 'js-openai-tool';
  const weather = { type: 'function', function: { name: 'get_weather', parameters: schema } };
  const messages = ask(question);
  const chat = () => openai(session).chat.completions.create({ model: 'stand-in-gpt', messages, tools: [weather] });
  const message = (await chat()).choices[0].message;
  const call = message.tool_calls[0];
  messages.push(message, { role: 'tool', tool_call_id: call.id, content: result });
  await chat();
  tools.push({ session, tool: call.function.name, arguments: call.function.arguments, result });
}
{
  const session = 'js-anthropic-tool';
  const messages = ask(question);
  const weather = { name: 'get_weather', input_schema: schema };
  const chat = () => anthropic(session).messages.create({ model: 'stand-in-claude', max_tokens: 50, messages, tools: [weather] });
  const content = (await chat()).content;
  const call = content.find((block) => block.type === 'tool_use');
  messages.push({ role: 'assistant', content });
  messages.push({ role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: result }] });
  await chat();
  tools.push({ session, tool: call.name, arguments: JSON.stringify(call.input), result });
}
{
  const session = 'js-ai-tool';
  const provider = createOpenAI({ baseURL: `${gateway}/v1`, apiKey: 'not-a-key-openai', headers: headers(session) });
  const get_weather = tool({ description: 'The weather.', inputSchema: jsonSchema(schema), execute: async () => JSON.parse(result) });
  const model = provider('stand-in-gpt');
  const answer = await generateText({ model, prompt: question, tools: { get_weather }, stopWhen: stepCountIs(3), maxRetries: 0 });
  const call = answer.steps[0].toolCalls[0];
  tools.push({ session, tool: call.toolName, arguments: JSON.stringify(call.input), result });
}
console.log(JSON.stringify({ plain: said, tools }, null, 2));
