// tus-js-client in Node: all files at a time, with the retries that it has by itself.
//
//   node storm.mjs '{"folder": ..., "endpoint": ..., "files": [...]}'

import { createReadStream } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

const { folder, endpoint, files } = JSON.parse(process.argv[2])
const tus = createRequire(`${folder}/package.json`)('tus-js-client')

const send = (file) =>
  new Promise((resolve, reject) => {
    const metadata = { filename: basename(file) }
    const options = { endpoint, metadata, onSuccess: resolve, onError: reject }
    new tus.Upload(createReadStream(file), options).start()
  })
await Promise.all(files.map(send))
