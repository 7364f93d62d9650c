// tus-js-client in Node, driven over stdin: one upload, its events as lines of JSON on stdout.
//
//   node drive.mjs '{"folder": ..., "file": ..., "source": ..., "options": {...}}'
//
// start, resume (what the storage knows of the file), abort, terminate, end,
// token TEXT [AT]: shown from now on, or from that many bytes on.

import { createReadStream, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

const job = JSON.parse(process.argv[2])
const require = createRequire(`${job.folder}/package.json`)
const tus = require('tus-js-client')
const tell = (event, more = {}) => console.log(JSON.stringify({ event, ...more }))

function* pieces(bytes, step = 300_000) {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
}

const sources = {
  buffer: () => readFileSync(job.file),
  file: () => createReadStream(job.file),
  blob: () => new Blob([readFileSync(job.file)]),
  // Nobody knows how long these are.
  stream: () => Readable.from(pieces(readFileSync(job.file)), { objectMode: false }),
  web: () => Readable.toWeb(Readable.from(pieces(readFileSync(job.file)))),
}

let later = null
function change(accepted) {
  if (later && accepted >= later.at) upload.options.headers = later.headers
}

const options = {
  retryDelays: Array(60).fill(100),
  ...job.options,
  onUploadUrlAvailable: () => tell('url', { url: upload.url }),
  onChunkComplete: (size, accepted, total) => {
    tell('chunk', { size, accepted, total })
    change(accepted)
  },
  onSuccess: () => tell('success', { url: upload.url }),
  onError: (error) => {
    const answer = error.originalResponse
    tell('error', { message: String(error), status: answer?.getStatus(), body: answer?.getBody() })
  },
}
if (job.storage) {
  const { FileUrlStorage } = tus.FileUrlStorage ? tus : require('tus-js-client/node/FileUrlStorage')
  options.urlStorage = new FileUrlStorage(job.storage)
}
const upload = new tus.Upload(sources[job.source](), options)

const verbs = {
  start: () => upload.start(),
  resume: async () => {
    const found = await upload.findPreviousUploads()
    tell('found', { count: found.length })
    if (found.length > 0) upload.resumeFromPreviousUpload(found[0])
    upload.start()
  },
  abort: async () => {
    await upload.abort()
    tell('aborted')
  },
  terminate: async () => {
    await upload.abort(true)
    tell('terminated')
  },
  token: (text, at = 0) => {
    later = { headers: { Authorization: `Bearer ${text}` }, at: Number(at) }
    change(0)
    tell('known')
  },
  end: () => process.exit(0),
}
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split(' ')
  await verbs[verb](...words)
}
