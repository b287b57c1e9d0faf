# shellcheck shell=bash
# Completion of ctbox, and of links to it, for bash 4.1 or later: goes into share/bash-completion/completions, or is sourced.
# It expands nothing that was typed, and leaves the names of files to readline, which quotes them.

# _ctbox_model APPLET: sets options, each with "=" and what its values are if it has one, operands, and runner if options end at the
# first operand. Values are choices joined by "|" and @file, @dir, @program, @variable or @text; "..." is for the last operand.
# The model of "" is ctbox itself, with applets. The cases are written by UPDATE=1 go test ./applets.
_ctbox_model() {
	runner=
	case $1 in
	# generated
	'')
		options=(--list --install -s --symlink -f --force -h --help --version)
		operands=(@dir)
		applets='dockjson|fileids|flatten|gz|libs|listdiff|listmerge|memcalc|mkdisk|mkimage|mkinitrd|mklayer|need|rundocker|runkvm|runlocal|sha256|try-fakeroot'
		;;
	dockjson)
		options=(-t=@file --template=@file -o=@file --output=@file -h --help --version)
		operands=(@file @file)
		;;
	fileids)
		options=(-0 --null -C=@dir --directory=@dir -T=@text --tar=@text -F=@file --fakeroot=@file --owner=@text
			--cache=@file -j=@text --jobs=@text -x --one-file-system -o=@file --output=@file
			'--progress=auto|always|never' -h --help --version)
		operands=(@dir)
		;;
	flatten)
		options=(-0 --null --list -o=@file --output=@file '-z=none|gzip|zstd' '--compress=none|gzip|zstd'
			'--mtime=epoch|clamp|keep' '--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	gz)
		options=(-l=@text --level=@text -o=@file --output=@file '--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	libs)
		options=(-0 --null -a --all --root=@dir -h --help --version)
		operands=(@file...)
		;;
	listdiff)
		options=(-0 --null --added-only --exit-code -o=@file --output=@file -h --help --version)
		operands=(@file @file)
		;;
	listmerge)
		options=(-0 --null -o=@file --output=@file -h --help --version)
		operands=(@file...)
		;;
	memcalc)
		options=(--kernel=@file '--rootfstype=tmpfs|ramfs' -v --verbose -h --help --version)
		operands=(@file...)
		;;
	mkdisk)
		options=(-0 --null -C=@dir --directory=@dir -T=@text --tar=@text -o=@file --output=@file
			'-t=ext4|erofs|squashfs' '--type=ext4|erofs|squashfs' --size=@text --free=@text --label=@text
			--journal --partition '--mtime=epoch|clamp|keep' --skip-sockets --trust-cache=@file
			'--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	mkimage)
		options=(-t=@file --template=@file --rootfs=@text -o=@file --output=@file '-z=none|gzip|zstd'
			'--compress=none|gzip|zstd' --reuse=@text --tag=@text '--format=hybrid|oci-dir|v1|aci'
			'--media=oci|docker' --cmd=@text --entrypoint=@text -e=@text --env=@text --label=@text
			--annotation=@text --workdir=@text --user=@text --expose=@text --volume=@text --platform=@text
			--created=@text --author=@text --digest-file=@file --no-verify-layers -v --verbose -q --quiet
			'--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	mkinitrd)
		options=(-0 --null -C=@dir --directory=@dir -T=@text --tar=@text -o=@file --output=@file '-z=none|gzip|zstd'
			'--compress=none|gzip|zstd' '--mtime=epoch|clamp|keep' '--rdinit=self|@file' --skip-sockets
			--allow-empty --trust-cache=@file '--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	mklayer)
		options=(-0 --null -C=@dir --directory=@dir -T=@text --tar=@text -o=@file --output=@file '-z=none|gzip|zstd'
			'--compress=none|gzip|zstd' '--mtime=epoch|clamp|keep' --root-entry --skip-sockets
			--trust-cache=@file -q --quiet '--progress=auto|always|never' -h --help --version)
		operands=(@file)
		;;
	need)
		options=(-c --check -h --help --version)
		operands=(@program...)
		;;
	rundocker)
		options=('--engine=docker|podman|nerdctl|@file' -e=@variable --env=@variable -i --interactive --keep
			--network=@text --rmi --timeout=@text -v --verbose -h --help --version)
		operands=(@file @text...)
		runner=1
		;;
	runkvm)
		options=('--accel=auto|kvm|tcg' --append=@text '--channel=auto|memory|serial' --cold -n --dry-run
			-e=@variable --env=@variable -i --interactive --kernel=@file -m=@text --memory=@text --read-only
			--smp=@text --timeout=@text -v --verbose '--vmm=qemu|firecracker|cloud-hypervisor' --workdir=@text
			-h --help --version)
		operands=(@file @text...)
		runner=1
		;;
	runlocal)
		options=(--bind=@file --changes=@file --chroot -n --dry-run -e=@variable --env=@variable --fake-chown
			--hostname=@text --layer=@file --limit=@text --map-auto '--net=none|host|user' --rw --timeout=@text
			--tmpfs=@text --user=@text -v --verbose --workdir=@text -h --help --version)
		operands=(@dir @text...)
		runner=1
		;;
	sha256)
		options=(-c --check -o=@file --output=@file '--progress=auto|always|never' -h --help --version)
		operands=(@file...)
		;;
	try-fakeroot)
		options=(-h --help --version)
		operands=(@file @program @file...)
		runner=1
		;;
	# end of generated
	*) return 1 ;;
	esac
}

# _ctbox_words TEXT: sets word to the word before the cursor, which ends in TEXT, words to those before it, and redirected if the shell
# is to open word. bash has cut words at what is in COMP_WORDBREAKS, of which = and : may be in the midst of them.
_ctbox_words() {
	local i gap part last rest=$COMP_LINE
	words=() redirected=
	for ((i = 0; i <= COMP_CWORD; i++)); do
		part=${COMP_WORDS[i]}
		gap=${rest%%[![:space:]]*}
		rest=${rest#"$gap"}
		rest=${rest#"$part"}
		last=$((${#words[@]} - 1))
		if [[ $part == [\<\>]* ]]; then
			if [[ ! $gap && $last -gt 0 && ${words[last]} == [0-9] ]]; then
				unset "words[last]"
			fi
			redirected=1
			continue
		elif [[ $redirected ]]; then
			((i < COMP_CWORD)) && redirected=
			continue
		fi
		((i == COMP_CWORD)) && [[ $part != [=:]* ]] && part=$1
		if [[ ! $gap && $i -gt 0 && ($part == [=:]* || ${COMP_WORDS[i - 1]} == *[=:]) ]]; then
			words[last]+=$part
		else
			words+=("$part")
		fi
	done
	word=$1
	if [[ ! $redirected ]]; then
		last=$((${#words[@]} - 1))
		word=${words[last]}
		unset "words[last]"
	fi
	words=("${words[@]:1}")
}

# _ctbox_spec OPTION: sets spec to what the values of OPTION are, or to nothing where it has none.
_ctbox_spec() {
	local option
	spec=
	for option in "${options[@]}"; do
		if [[ $option == "$1="* ]]; then
			spec=${option#*=}
		fi
	done
}

# _ctbox_scan: counts the operands in words; sets want to what word is as the value of an option, and ended if word is no option.
_ctbox_scan() {
	local i w
	operand=0 want='' ended=''
	for w in "${words[@]}"; do
		if [[ $want ]]; then
			want=
		elif [[ $ended || $w != -?* ]]; then
			((operand += 1))
			ended=$ended$runner
		elif [[ $w == -- ]]; then
			ended=1
		elif [[ $w == --* ]]; then
			_ctbox_spec "$w"
			want=$spec
		else
			for ((i = 1; i < ${#w}; i++)); do
				_ctbox_spec "-${w:i:1}"
				if [[ $spec ]]; then
					((i == ${#w} - 1)) && want=$spec
					break
				fi
			done
		fi
	done
}

# _ctbox_add NAME...: adds to COMPREPLY what of NAMEs comes after the part of word that is not readline's word. Nobody quotes that:
# with compopt -o filenames, readline leaves $ and ` as they are in what is no file. So a NAME that would need quotes is left out.
_ctbox_add() {
	local name
	for name; do
		if [[ $name != *[![:alnum:]_./,:=+@%-]* ]]; then
			COMPREPLY+=("${name#"$cut"}")
		fi
	done
}

# _ctbox_values SPEC LEAD VALUE: completes VALUE, which follows LEAD in word.
_ctbox_values() {
	local kind files='' lead=$2 value=$3
	local -a kinds
	IFS='|' read -ra kinds <<<"${1%...}"
	for kind in "${kinds[@]}"; do
		case $kind in
		@file) files=-f ;;
		@dir) files=-d ;;
		@program) if [[ $value == */* ]]; then files=-f; else _ctbox_lines _ctbox_is_program -c; fi ;;
		@variable) _ctbox_lines true -e ;;
		@*) ;;
		*) [[ $kind == "$value"* ]] && _ctbox_add "$lead$kind" ;;
		esac
	done
	if [[ ! $files ]]; then
		return
	elif [[ ${#COMPREPLY[@]} -gt 0 || $cut != "$lead"* ]] || _ctbox_traps; then
		_ctbox_lines _ctbox_is_file "$files"
	elif [[ $files == -f ]]; then
		compopt -o default # readline's own, which knows how to quote
	else
		compopt -o dirnames
	fi
}

# _ctbox_lines CHECK ACTION: adds lead and each of compgen's lines for value that CHECK accepts.
_ctbox_lines() {
	local name
	while IFS= read -r name; do
		if "$1" "$name"; then
			_ctbox_add "$lead$name"
		fi
	done < <(compgen "$2" -- "$value")
}

_ctbox_is_program() { type -P -- "$1" >/dev/null; } # and no function or alias
_ctbox_is_file() { [[ -e $1 || -L $1 ]]; }          # and not a part of a name with newlines

# _ctbox_traps: succeeds if readline, too, would leave $ or ` as it is in what it completes, because it cannot find that: in links that
# lead nowhere.
_ctbox_traps() {
	local name
	while IFS= read -r name; do
		if [[ $name == *[\$\`]* && ! -e $name ]]; then
			return
		fi
	done < <(compgen "$files" -- "${word#"$cut"}")
	return 1
}

# _ctbox_options: completes word as an option. One with a value gets its "=".
_ctbox_options() {
	local option name
	for option in "${options[@]}"; do
		name=${option%%=*}
		if [[ $option == --*=* ]]; then
			name+='='
		fi
		if [[ $name == "$word"* ]]; then
			_ctbox_add "$name"
		fi
	done
	if [[ ${COMPREPLY[0]-} == *= ]]; then
		compopt -o nospace
	fi
}

_ctbox() {
	local applets cut ended operand redirected runner spec want word
	local -a operands options words
	COMPREPLY=()
	_ctbox_words "$2"
	cut=${word%"$2"}
	if ! _ctbox_model "${1##*/}"; then
		if [[ ${#words[@]} -eq 0 ]]; then
			_ctbox_model ''
			operands=("$applets")
		elif _ctbox_model "${words[0]}"; then
			words=("${words[@]:1}")
		else
			_ctbox_model ''
		fi
	fi
	_ctbox_scan
	if [[ $redirected ]]; then
		_ctbox_values @file '' "$word"
	elif [[ $want ]]; then
		_ctbox_values "$want" '' "$word"
	elif [[ ! $ended && $word == --*=* ]]; then
		_ctbox_spec "${word%%=*}"
		_ctbox_values "$spec" "${word%%=*}=" "${word#*=}"
	elif [[ ! $ended && $word == -* ]]; then
		_ctbox_options
	else
		if [[ $operand -ge ${#operands[@]} && ${operands[*]} == *... ]]; then
			operand=$((${#operands[@]} - 1))
		fi
		_ctbox_values "${operands[operand]-}" '' "$word"
	fi
}

# Links named like applets are completed if they are links to ctbox: others have an mkimage, too.
_ctbox_links() {
	local applets ctbox name path runner
	local -a names operands options
	_ctbox_model ''
	IFS='|' read -ra names <<<"$applets"
	ctbox=$(type -P ctbox)
	while IFS= read -r path; do
		if [[ $path -ef $ctbox ]]; then
			complete -F _ctbox "${path##*/}"
		fi
	done < <(type -P "${names[@]}")
	# A file named like an applet may lead here for another program: its operands are files, then, for all that is known.
	name=${COMP_WORDS[0]-}
	if [[ "|$applets|" == *"|${name##*/}|"* ]] && ! complete -p "${name##*/}" &>/dev/null; then
		complete -o bashdefault -o default "${name##*/}"
	fi
}

complete -F _ctbox ctbox
_ctbox_links
unset -f _ctbox_links
